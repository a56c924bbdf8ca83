#include "runtime/cuda/cuda_inproc_transport.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/device.h"
#include "runtime/transport.h"
#include "tests/support/needs_gpu.h"
#include "tests/support/overlap.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class CudaInprocTransport : public NeedsGpu {};

template <typename Work>
void on_all_ranks(int ranks, const Work& work) {
  const std::vector<std::unique_ptr<Transport>> transports = make_cuda_inproc_transports(ranks);
  std::vector<std::jthread> threads;
  for (const std::unique_ptr<Transport>& transport : transports) {
    threads.emplace_back([&] { work(*transport); });
  }
}

// Memory of the rank's device, and of the host to look at it.
struct Buffer {
  Buffer(Device& of_device, std::size_t bytes)
      : device(of_device), memory(device, bytes), host(device, bytes, MemoryHome::host) {
    device.reserve_marks(1);
  }

  void fill(std::span<const std::byte> with) const {
    std::copy(with.begin(), with.end(), host.bytes().begin());
    device.copy(host.bytes(), memory.bytes());
  }
  [[nodiscard]] std::vector<std::byte> read() const {
    device.copy(memory.bytes(), host.bytes());
    device.mark(0);
    EXPECT_TRUE(device.wait(0, generous_deadline()));
    return {host.bytes().begin(), host.bytes().end()};
  }

  Device& device;
  DeviceMemory memory;
  DeviceMemory host;
};

// The refusal can only be seen where there is no GPU, as in CI.
TEST(CudaInprocWithoutGpu, IsRefusedWithTheReason) {
  if (no_gpu_reason().empty()) {
    GTEST_SKIP() << "there is a GPU";
  }
  EXPECT_EQ(refusal(ExitCode::usage, [] { return make_cuda_inproc_transports(2).size(); }),
            "no GPU: " + no_gpu_reason());
}

TEST_F(CudaInprocTransport, MessagesArriveInTheirOrderOnEveryChannel) {
  constexpr std::size_t bytes = 5000;
  constexpr int rounds = 20;
  on_all_ranks(3, [](Transport& transport) {
    const int next = (transport.rank() + 1) % 3;
    const int before = (transport.rank() + 2) % 3;
    const Buffer sent(transport.device(), bytes);
    const Buffer received(transport.device(), bytes);
    for (int round = 0; round < rounds; ++round) {
      const auto number = static_cast<std::uint64_t>(round);
      sent.fill(message_of(number * 3 + static_cast<std::uint64_t>(transport.rank()), bytes));
      const Ticket receive =
          transport.post_receive(before, MessageClass::activation, received.memory.bytes());
      const Ticket send = transport.post_send(next, MessageClass::activation, sent.memory.bytes());
      expect_done(transport, receive);
      expect_done(transport, send);
      EXPECT_EQ(received.read(),
                message_of(number * 3 + static_cast<std::uint64_t>(before), bytes));
    }
  });
}

// What was asked for before a send was posted is in the message; what was asked for after waiting
// for it is not.
TEST_F(CudaInprocTransport, OperationsTakeTheirTurnInTheQueue) {
  constexpr std::size_t bytes = std::size_t{1} << 20;
  on_all_ranks(2, [](Transport& transport) {
    const Buffer buffer(transport.device(), bytes);
    if (transport.rank() == 0) {
      buffer.fill(message_of(7, bytes));
      expect_done(transport, transport.post_send(1, MessageClass::gradient, buffer.memory.bytes()));
      transport.device().zero(buffer.memory.bytes());
    } else {
      expect_done(transport,
                  transport.post_receive(0, MessageClass::gradient, buffer.memory.bytes()));
      EXPECT_EQ(buffer.read(), message_of(7, bytes));
    }
    meet(transport);
  });
}

TEST_F(CudaInprocTransport, ASendIsNotDoneBeforeItsReceiveIsPosted) {
  on_all_ranks(2, [](Transport& transport) {
    const Buffer buffer(transport.device(), 64);
    if (transport.rank() == 0) {
      const Ticket send = transport.post_send(1, MessageClass::activation, buffer.memory.bytes());
      EXPECT_FALSE(transport.wait(send, std::chrono::steady_clock::now()));
      meet(transport);
      expect_done(transport, send);
    } else {
      meet(transport);
      expect_done(transport,
                  transport.post_receive(0, MessageClass::activation, buffer.memory.bytes()));
    }
  });
}

TEST_F(CudaInprocTransport, AMessageTravelsWhileBothEndsCompute) {
  on_all_ranks(2, [](Transport& transport) {
    const DeviceMemory memory(transport.device(), 4096);
    meet(transport);
    expect_message_while_computing(transport, memory);
    meet(transport);
  });
}

TEST_F(CudaInprocTransport, SizesThatDifferAreNamedAtBothEnds) {
  on_all_ranks(2, [](Transport& transport) {
    const Buffer buffer(transport.device(), transport.rank() == 0 ? 128 : 64);
    const Ticket ticket =
        transport.rank() == 0
            ? transport.post_send(1, MessageClass::replica, buffer.memory.bytes())
            : transport.post_receive(0, MessageClass::replica, buffer.memory.bytes());
    EXPECT_THAT(
        [&] { static_cast<void>(transport.wait(ticket, generous_deadline())); },
        ThrowsMessage<OperationFailure>(HasSubstr("sent 128 bytes where rank 1 expected 64")));
  });
}

TEST_F(CudaInprocTransport, AnAbortEndsEveryWait) {
  on_all_ranks(2, [](Transport& transport) {
    const Buffer buffer(transport.device(), 64);
    if (transport.rank() == 0) {
      transport.abort(ExitCode::callback, "enough");
    }
    const auto waits = [&] {
      return transport.wait(transport.post_receive(1 - transport.rank(), MessageClass::activation,
                                                   buffer.memory.bytes()),
                            generous_deadline());
    };
    EXPECT_EQ(refusal(ExitCode::callback, waits), "enough");
    EXPECT_EQ(refusal(ExitCode::callback,
                      [&] {
                        transport.check();
                        return 0;
                      }),
              "enough");
  });
}

}  // namespace
}  // namespace dualpipe
