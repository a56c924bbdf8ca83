// On threads of this process, so that a stand-in for NCCL is enough; the real one wants a GPU for
// each of them.

#include "runtime/nccl/nccl_transport.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "costs/error.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/device.h"
#include "runtime/inproc_transport.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/needs_gpu.h"
#include "tests/support/overlap.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

constexpr int ranks = 4;

class NcclTransport : public NeedsGpu {
 protected:
  void SetUp() override {
    NeedsGpu::SetUp();
    if (!IsSkipped() && gpu_count() < ranks) {
      GTEST_SKIP() << "needs " << ranks << " GPUs";
    }
  }
};

Program four_ranks(const std::string& family) {
  return compile_or_throw(generate(find_family(family), {.ranks = ranks, .microbatches = 16}));
}

// The work begins once all ranks are connected, for it may end the job.
template <typename Work>
void on_all_ranks(const Program& program, const Work& work) {
  std::vector<std::unique_ptr<Transport>> inner = make_inproc_transports(ranks);
  std::barrier connected(ranks);
  std::vector<std::jthread> threads;
  for (std::unique_ptr<Transport>& one : inner) {
    threads.emplace_back([&] {
      const std::unique_ptr<Transport> transport =
          make_nccl_transport(std::move(one), program, {.reserved_sms = 16});
      connected.arrive_and_wait();
      work(*transport);
    });
  }
}

TEST(NcclEnvironment, SaysOnlyWhatIsNotSaidAlready) {
  ::setenv("CUDA_MODULE_LOADING", "LAZY", 1);
  prepare_nccl_environment();
  EXPECT_STREQ(std::getenv("CUDA_MODULE_LOADING"), "LAZY");
  EXPECT_STREQ(std::getenv("CUDA_DEVICE_MAX_CONNECTIONS"), "32");
  EXPECT_STREQ(std::getenv("NCCL_LAUNCH_ORDER_IMPLICIT"), "0");
  ::unsetenv("CUDA_MODULE_LOADING");
}

// The refusal can only be seen where there is no GPU, as in CI.
TEST(NcclWithoutGpu, IsRefusedWithTheReason) {
  if (no_gpu_reason().empty()) {
    GTEST_SKIP() << "there is a GPU";
  }
  const Program program =
      compile_or_throw(generate(find_family("1f1b"), {.ranks = 1, .microbatches = 1}));
  std::vector<std::unique_ptr<Transport>> inner = make_inproc_transports(1);
  EXPECT_EQ(refusal(ExitCode::usage,
                    [&] { return make_nccl_transport(std::move(inner[0]), program)->rank(); }),
            "no GPU: " + no_gpu_reason());
}

TEST_F(NcclTransport, MessagesArriveInTheirOrder) {
  const Program program = four_ranks("1f1b");
  constexpr std::size_t bytes = 100'000;
  on_all_ranks(program, [](Transport& transport) {
    Device& device = transport.device();
    EXPECT_EQ(transport.name(), "nccl");
    const DeviceMemory memory(device, bytes);
    const DeviceMemory host(device, bytes, MemoryHome::host);
    device.reserve_marks(1);
    for (int round = 0; round < 10; ++round) {
      const std::vector<std::byte> expected = message_of(static_cast<std::uint64_t>(round), bytes);
      if (transport.rank() == 0) {
        std::copy(expected.begin(), expected.end(), host.bytes().begin());
        device.copy(host.bytes(), memory.bytes());
      } else {
        expect_done(transport, transport.post_receive(transport.rank() - 1,
                                                      MessageClass::activation, memory.bytes()));
        device.copy(memory.bytes(), host.bytes());
      }
      if (transport.rank() + 1 < ranks) {
        expect_done(transport, transport.post_send(transport.rank() + 1, MessageClass::activation,
                                                   memory.bytes()));
      }
      device.mark(0);
      ASSERT_TRUE(device.wait(0, generous_deadline()));
      EXPECT_EQ(std::vector<std::byte>(host.bytes().begin(), host.bytes().end()), expected);
    }
    meet(transport);
  });
}

TEST_F(NcclTransport, AMessageTravelsWhileBothEndsCompute) {
  const Program program = four_ranks("1f1b");
  on_all_ranks(program, [](Transport& transport) {
    const DeviceMemory memory(transport.device(), 4096);
    meet(transport);
    if (transport.rank() < 2) {
      expect_message_while_computing(transport, memory);
    }
    meet(transport);
  });
}

// Both ends receive first and send second, which alone would be a deadlock.
TEST_F(NcclTransport, ReplicasExchangeInOneGroup) {
  const Program program = four_ranks("dualpipe");
  on_all_ranks(program, [](Transport& transport) {
    const int peer = ranks - 1 - transport.rank();
    Device& device = transport.device();
    const DeviceMemory memory(device, 128);
    device.reserve_marks(1);
    const Ticket receive =
        transport.post_receive(peer, MessageClass::replica, memory.bytes().first(64));
    const Ticket send = transport.post_send(peer, MessageClass::replica, memory.bytes().last(64));
    transport.end_group();
    expect_done(transport, receive);
    expect_done(transport, send);
    device.mark(0);
    EXPECT_TRUE(device.wait(0, generous_deadline()));
    meet(transport);
  });
}

TEST_F(NcclTransport, AnAbortIsHeardEverywhereAndFreesTheGpu) {
  const Program program = four_ranks("1f1b");
  on_all_ranks(program, [](Transport& transport) {
    Device& device = transport.device();
    const DeviceMemory memory(device, 64);
    device.reserve_marks(1);
    // Nobody sends: without the abort the queue would stand still for ever.
    const auto waits = [&] {
      meet(transport);
      if (transport.rank() == 0) {
        transport.abort(ExitCode::callback, "enough");
      } else {
        static_cast<void>(transport.wait(
            transport.post_receive(transport.rank() - 1, MessageClass::activation, memory.bytes()),
            generous_deadline()));
      }
      device.mark(0);
      while (!device.wait(0, std::chrono::steady_clock::now() + std::chrono::milliseconds(20))) {
        transport.check();
      }
      transport.check();
      return 0;
    };
    EXPECT_EQ(refusal(ExitCode::callback, waits), "enough");
    transport.abort(ExitCode::callback, "enough");
    EXPECT_TRUE(device.wait(0, generous_deadline()));
  });
}

}  // namespace
}  // namespace dualpipe
