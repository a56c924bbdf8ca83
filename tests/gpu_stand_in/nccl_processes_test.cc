// NCCL's rules between processes, one scenario per run: nccl_processes_test SCENARIO RANKS. Ends
// with 0 when all is as it should be, and says on stderr what is not.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <nccl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/gpu_stand_in/rank.h"

namespace stand_in {
namespace {

// What the processes share beside their communicators.
struct Shared {
  std::array<ncclUniqueId, 2> ids;
  std::atomic<int> ready;  // how many ids there are
};

void expect(bool condition, const std::string& what) {
  if (!condition) {
    throw std::runtime_error("expected: " + what);
  }
}

void join_all(Rank& rank, Shared& shared) {
  if (rank.number() == 0) {
    for (ncclUniqueId& id : shared.ids) {
      check(ncclGetUniqueId(&id));
    }
    shared.ready = 2;
  }
  expect(comes_true([&] { return shared.ready == 2; }), "rank 0 makes ids");
  for (const ncclUniqueId& id : shared.ids) {
    rank.join(id);
  }
}

// Numbers go round a ring, rank after rank, as often as there are ranks; each adds one.
void ring(Rank& rank, Shared& shared) {
  join_all(rank, shared);
  constexpr std::size_t floats = 50'000;
  const int next = (rank.number() + 1) % rank.ranks();
  const int previous = (rank.number() + rank.ranks() - 1) % rank.ranks();
  float* const out = rank.memory(floats, static_cast<float>(100 * rank.number()));
  float* const in = rank.memory(floats, -1.0F);
  for (int round = 0; round < rank.ranks(); ++round) {
    check(ncclGroupStart());
    rank.send(out, floats, next, {});
    rank.receive(in, floats, previous, {});
    check(ncclGroupEnd());
    rank.settle();
    expect(rank.finishes(), "the ring turns");
    check(cudaMemcpyAsync(out, in, floats * sizeof(float), cudaMemcpyDefault, rank.stream()));
  }
  const std::vector<float> values = rank.values(out, floats);
  expect(values == std::vector<float>(floats, static_cast<float>(100 * rank.number())),
         "what comes back is what was sent");
  for (const std::size_t position : {0, 1}) {
    check(ncclCommFinalize(rank.communicator(position)));
    rank.settle(position);
    check(ncclCommDestroy(rank.communicator(position)));
  }
  rank.forget_communicators();
}

// A peer that dies leaves its partner waiting: NCCL says nothing. Aborting frees it.
void peer_dies(Rank& rank, Shared& shared) {
  join_all(rank, shared);
  if (rank.ranks() - 1 == rank.number()) {
    kill(getpid(), SIGKILL);
  }
  rank.receive(rank.memory(1), 1, rank.ranks() - 1, {});
  expect(Rank::settled(rank.communicator(), long_enough) == ncclInProgress, "the host waits");
  expect(ncclCommAbort(rank.communicator()) == ncclSuccess, "aborting does not wait");
}

// Two processes on one device need NCCL_HOSTID.
void share_a_device(Rank& rank, Shared& shared) {
  const bool distinct = std::getenv("NCCL_HOSTID") != nullptr;
  if (distinct) {
    setenv("NCCL_HOSTID", std::to_string(rank.number()).c_str(), 1);
    join_all(rank, shared);
    return;
  }
  if (rank.number() == 0) {
    check(ncclGetUniqueId(&shared.ids[0]));
    shared.ready = 2;
  }
  expect(comes_true([&] { return shared.ready == 2; }), "rank 0 makes an id");
  expect(rank.try_join(shared.ids[0]) == ncclInvalidUsage, "two ranks on one device are refused");
}

// The second launch of the host does not begin before the first, though its stream is free: so the
// message that both ranks exchange on it never comes if the first waits for an event that follows.
void keep_launch_order(Rank& rank, Shared& shared) {
  join_all(rank, shared);
  const int peer = 1 - rank.number();
  rank.connect(peer, 0);
  rank.connect(peer, 1);
  static std::atomic<bool> released = false;
  check(cudaLaunchHostFunc(
      rank.stream(0), [](void*) { comes_true([] { return released.load(); }); }, nullptr));
  float* const memory = rank.memory(1);
  const auto transfer = [&](std::size_t position) {
    const Rank::Way way{.communicator = position, .stream = position};
    if (rank.number() == 0) {
      rank.send(memory, 1, peer, way);
    } else {
      rank.receive(memory, 1, peer, way);
    }
    rank.settle(position);
  };
  transfer(0);
  transfer(1);
  const auto second_is_done = [&] { return cudaStreamQuery(rank.stream(1)) == cudaSuccess; };
  const bool ordered = std::getenv("NCCL_LAUNCH_ORDER_IMPLICIT") != nullptr;
  expect(comes_true(second_is_done, ordered ? std::chrono::nanoseconds(long_enough) : generous) !=
             ordered,
         ordered ? "the second launch waits for the first to begin" : "nothing waits");
  released = true;
  expect(rank.finishes(), "both launches are done in the end");
}

struct Scenario {
  std::string_view name;
  void (*run)(Rank& rank, Shared& shared);
  bool one_device = false;
  bool last_rank_dies = false;
};

constexpr std::array scenarios{
    Scenario{.name = "ring", .run = ring},
    Scenario{.name = "peer_dies", .run = peer_dies, .last_rank_dies = true},
    Scenario{.name = "share_a_device", .run = share_a_device, .one_device = true},
    Scenario{.name = "keep_launch_order", .run = keep_launch_order},
};

// In the process of a rank; the exit code.
int run_rank(const Scenario& scenario, Shared& shared, int number, int ranks) {
  try {
    Rank rank(number, ranks, scenario.one_device ? 0 : number);
    scenario.run(rank, shared);
    return 0;
  } catch (const std::exception& error) {
    static_cast<void>(std::fprintf(stderr, "rank %d: %s\n", number, error.what()));
    return 1;
  }
}

int run(const Scenario& scenario, int ranks) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& shared = *static_cast<Shared*>(memory);
  std::vector<pid_t> processes;
  for (int number = 0; number < ranks; ++number) {
    const pid_t process = fork();
    if (process == 0) {
      _exit(run_rank(scenario, shared, number, ranks));
    }
    processes.push_back(process);
  }
  int failures = 0;
  for (int number = 0; number < ranks; ++number) {
    int status = 0;
    waitpid(processes[static_cast<std::size_t>(number)], &status, 0);
    const bool dies = scenario.last_rank_dies && number == ranks - 1;
    failures += dies ? !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
                     : !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace stand_in

int main(int argc, char** argv) {
  for (const stand_in::Scenario& scenario : stand_in::scenarios) {
    if (argc == 3 && scenario.name == argv[1]) {
      return stand_in::run(scenario, std::atoi(argv[2]));
    }
  }
  return 2;
}
