// Jobs that end before their time, one per run: a program for mpirun and
// tests/support/expect_job.sh, which judges the exit code and what stderr says. Usage:
// mpi_thread_test SCENARIO.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <signal.h>

#include "costs/error.h"
#include "runtime/mpi_transport.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

constexpr std::chrono::milliseconds op_timeout{500};
constexpr std::chrono::seconds generous{60};

std::byte token{};

void wait_for_ever(Transport& transport) {
  const int peer = (transport.rank() + 1) % transport.ranks();
  const Ticket ticket = transport.post_receive(peer, MessageClass::activation, {&token, 1});
  static_cast<void>(transport.wait(ticket, std::chrono::steady_clock::now() + generous));
  std::fprintf(stderr, "rank %d came back\n", transport.rank());
}

// Every rank waits for its first message from the side where `stuck` is, which sends nothing.
template <typename Stuck>
void all_wait_but(Transport& transport, int stuck, const Stuck& be_stuck) {
  const int rank = transport.rank();
  if (rank == stuck) {
    transport.status().publish(0, Activity::running, 0);
    be_stuck();
    return;
  }
  const Program program = compile_or_throw(
      generate(find_family("1f1b"), {.ranks = transport.ranks(), .microbatches = 4}));
  const int source = rank < stuck ? rank + 1 : rank - 1;
  const auto messages = program.messages();
  const auto first = std::ranges::find_if(messages, [&](const Message& message) {
    const Channel& channel = program.channel_of(message);
    return channel.source == source && channel.destination == rank;
  });
  transport.status().publish(0, Activity::awaiting_receive,
                             static_cast<std::int32_t>(first - messages.begin()));
  const Ticket ticket = transport.post_receive(source, MessageClass::activation, {&token, 1});
  BoundedWait(program, transport, op_timeout).wait(ticket);
}

void one_aborts(Transport& transport) {
  if (transport.rank() == 1) {
    transport.abort(ExitCode::callback, "rank 1 has had enough");
  }
  wait_for_ever(transport);
}

void all_abort(Transport& transport) {
  transport.abort(ExitCode::callback, "everybody has had enough");
}

void one_computes_for_ever(Transport& transport) {
  all_wait_but(transport, 2, [] { std::this_thread::sleep_for(generous); });
}

void one_is_stopped(Transport& transport) {
  all_wait_but(transport, 2, [] { ::raise(SIGSTOP); });
}

void one_is_killed(Transport& transport) {
  if (transport.rank() == 1) {
    ::raise(SIGKILL);
  }
  wait_for_ever(transport);
}

void one_leaves(Transport& transport) {
  if (transport.rank() == 1) {
    static_cast<void>(transport.post_receive(0, MessageClass::activation, {&token, 1}));
    return;
  }
  wait_for_ever(transport);
}

struct Scenario {
  std::string_view name;
  void (*run)(Transport& transport);
};
constexpr std::array<Scenario, 6> scenarios{{
    {"one_aborts", one_aborts},
    {"all_abort", all_abort},
    {"one_computes_for_ever", one_computes_for_ever},
    {"one_is_stopped", one_is_stopped},
    {"one_is_killed", one_is_killed},
    {"one_leaves", one_leaves},
}};

}  // namespace
}  // namespace dualpipe

int main(int argc, char** argv) {
  for (const dualpipe::Scenario& scenario : dualpipe::scenarios) {
    if (argc == 2 && scenario.name == argv[1]) {
      const std::unique_ptr<dualpipe::Transport> transport = dualpipe::make_mpi_transport();
      scenario.run(*transport);
      return 0;
    }
  }
  std::fprintf(stderr, "expected the name of a scenario\n");
  return 2;
}
