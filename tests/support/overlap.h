// Whether a GPU communicates while it computes.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_error.h"
#include "runtime/cuda/cuda_handles.h"
#include "runtime/cuda/kernel_launch.h"
#include "runtime/cuda/kernels.h"
#include "runtime/device.h"
#include "runtime/transport.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {

// Keeps a stream at work for so long.
inline void compute(cudaStream_t stream, std::chrono::milliseconds time) {
  const std::chrono::nanoseconds nanoseconds = time;
  launch({.stream = stream, .grid = dim3(1), .threads = 1}, dualpipe_spin, nullptr, nullptr,
         {.expected = {},
          .written = {},
          .nanoseconds = static_cast<unsigned long long>(nanoseconds.count())},
         nullptr);
}

// Ranks 0 and 1 post a message and then compute for a second; the message is there while both still
// do. Called by these two; `memory` is what they send from and receive in.
inline void expect_message_while_computing(Transport& transport, const DeviceMemory& memory) {
  auto& device = dynamic_cast<CudaDevice&>(transport.device());
  const std::vector<std::byte> expected = message_of(11, memory.bytes().size());
  const DeviceMemory host(device, expected.size(), MemoryHome::host);
  device.reserve_marks(1);
  Ticket ticket = 0;
  if (transport.rank() == 0) {
    std::ranges::copy(expected, host.bytes().begin());
    device.copy(host.bytes(), memory.bytes());
    ticket = transport.post_send(1, MessageClass::activation, memory.bytes());
  } else {
    ticket = transport.post_receive(0, MessageClass::activation, memory.bytes());
  }
  device.make_current();
  compute(device.stream(), std::chrono::seconds(1));
  device.mark(0);
  if (transport.rank() == 1) {
    // Looked at beside the queue, which the message would otherwise be waited for in.
    const CudaStream look;
    const CudaEvent looked;
    bool arrived = false;
    while (!arrived && !device.wait(0, {})) {
      require(cudaMemcpyAsync(host.bytes().data(), memory.bytes().data(), expected.size(),
                              cudaMemcpyDefault, look.get()),
              "looking at a message");
      looked.record(look.get());
      while (!looked.happened()) {
        std::this_thread::yield();
      }
      arrived = std::ranges::equal(host.bytes(), expected);
    }
    EXPECT_TRUE(arrived);
    EXPECT_FALSE(device.wait(0, {})) << "it came only when the queue was empty";
  }
  expect_done(transport, ticket);
  device.mark(0);
  EXPECT_TRUE(device.wait(0, generous_deadline()));
}

}  // namespace dualpipe
