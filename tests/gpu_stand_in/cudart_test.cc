// The rules that NVIDIA's documentation gives for the CUDA runtime, as far as the project leans on
// them, seen to hold. launch_test.cu has kernels that nvcc has compiled.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <ratio>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gpu_stand_in/rank.h"

namespace stand_in {
namespace {

using testing::Each;
using testing::ElementsAre;

// Streams and memory of one device, with host functions by which a test holds a stream.
class CudartStandIn : public testing::Test {
 protected:
  CudartStandIn() {
    for (cudaStream_t& stream : streams_) {
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    }
  }
  ~CudartStandIn() override {
    release();
    for (const cudaStream_t stream : streams_) {
      static_cast<void>(cudaStreamSynchronize(stream));
      static_cast<void>(cudaStreamDestroy(stream));
    }
  }

  // The stream goes no further until release().
  void hold(std::size_t stream) {
    check(cudaLaunchHostFunc(
        streams_[stream],
        [](void* of_gate) {
          Gate& gate = *static_cast<Gate*>(of_gate);
          gate.held = true;
          comes_true([&] { return gate.released.load(); });
        },
        &gate_));
  }
  void release() { gate_.released = true; }

  template <typename Number>
  Number* device_memory(std::size_t count) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, count * sizeof(Number)));
    return static_cast<Number*>(memory);
  }
  template <typename Number>
  Number* pinned_memory(std::size_t count) {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, count * sizeof(Number), cudaHostAllocDefault));
    return static_cast<Number*>(memory);
  }

  struct Gate {
    std::atomic<bool> held = false;
    std::atomic<bool> released = false;
  };
  Gate gate_;
  std::vector<cudaStream_t> streams_ = std::vector<cudaStream_t>(2);
};

TEST_F(CudartStandIn, AStreamWorksInOrderWhileTheHostGoesOn) {
  auto* memory = device_memory<unsigned char>(1);
  auto* on_host = pinned_memory<unsigned char>(2);
  hold(0);
  check(cudaMemsetAsync(memory, 1, 1, streams_[0]));
  check(cudaMemcpyAsync(&on_host[0], memory, 1, cudaMemcpyDefault, streams_[0]));
  check(cudaMemsetAsync(memory, 2, 1, streams_[0]));
  check(cudaMemcpyAsync(&on_host[1], memory, 1, cudaMemcpyDefault, streams_[0]));
  EXPECT_EQ(cudaStreamQuery(streams_[0]), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaSuccess);
  release();
  check(cudaStreamSynchronize(streams_[0]));
  EXPECT_EQ(on_host[0], 1);
  EXPECT_EQ(on_host[1], 2);
}

TEST_F(CudartStandIn, AnEventMakesAStreamWaitForWhatWasAskedForBeforeIt) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);  // Never recorded.
  hold(0);
  check(cudaEventRecord(event, streams_[0]));
  check(cudaStreamWaitEvent(streams_[1], event, 0));
  // A new record does not change what was waited for before.
  check(cudaEventRecord(event, streams_[1]));
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaErrorNotReady);
  release();
  check(cudaEventSynchronize(event));
  EXPECT_EQ(cudaStreamQuery(streams_[1]), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
}

TEST_F(CudartStandIn, EventsTellTheTimeBetweenThem) {
  std::vector<cudaEvent_t> events(2);
  for (cudaEvent_t& event : events) {
    check(cudaEventCreate(&event));
  }
  float milliseconds = 0.0F;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, events[0], events[1]),
            cudaErrorInvalidResourceHandle);
  const auto begin = std::chrono::steady_clock::now();
  check(cudaEventRecord(events[0], streams_[0]));
  hold(0);
  check(cudaEventRecord(events[1], streams_[0]));
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, events[0], events[1]), cudaErrorNotReady);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  release();
  check(cudaEventSynchronize(events[1]));
  const std::chrono::duration<float, std::milli> most = std::chrono::steady_clock::now() - begin;
  check(cudaEventElapsedTime(&milliseconds, events[0], events[1]));
  EXPECT_GE(milliseconds, 10.0F);
  EXPECT_LE(milliseconds, most.count());
}

TEST_F(CudartStandIn, HostFunctionsRunOneAtATimeAndMayNotCallCuda) {
  cudaError_t error = cudaSuccess;
  hold(0);
  ASSERT_TRUE(comes_true([&] { return gate_.held.load(); }));  // else the other might be first
  check(cudaLaunchHostFunc(
      streams_[1],
      [](void* found) { *static_cast<cudaError_t*>(found) = cudaStreamSynchronize(nullptr); },
      &error));
  EXPECT_FALSE(
      comes_true([&] { return cudaStreamQuery(streams_[1]) == cudaSuccess; }, long_enough));
  release();
  check(cudaStreamSynchronize(streams_[1]));
  EXPECT_EQ(error, cudaErrorNotPermitted);
}

TEST_F(CudartStandIn, ACopyToPageableMemoryWaitsOnTheHost) {
  auto* memory = device_memory<int>(1);
  int pageable = 0;
  std::atomic<bool> returned = false;
  hold(0);
  check(cudaMemsetAsync(memory, 0, sizeof(int), streams_[0]));
  const std::jthread copier([&] {
    check(cudaMemcpyAsync(&pageable, memory, sizeof(int), cudaMemcpyDeviceToHost, streams_[0]));
    returned = true;
  });
  EXPECT_FALSE(comes_true([&] { return returned.load(); }, long_enough));
  release();
  EXPECT_TRUE(comes_true([&] { return returned.load(); }));
}

TEST_F(CudartStandIn, FreeingWaitsForTheDevice) {
  auto* memory = device_memory<int>(1);
  std::atomic<bool> returned = false;
  hold(1);
  const std::jthread releaser([&] {
    check(cudaFree(memory));
    returned = true;
  });
  EXPECT_FALSE(comes_true([&] { return returned.load(); }, long_enough));
  release();
  EXPECT_TRUE(comes_true([&] { return returned.load(); }));
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
}

TEST_F(CudartStandIn, FreshMemoryIsNotZeroed) {
  const auto* memory = device_memory<float>(64);
  std::vector<float> values(64);
  check(cudaMemcpy(values.data(), memory, 64 * sizeof(float), cudaMemcpyDeviceToHost));
  EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return std::isnan(value); }));
}

TEST_F(CudartStandIn, CopiesBeyondAnAllocationOrInTheWrongDirectionAreRefused) {
  auto* memory = device_memory<int>(4);
  auto* on_host = pinned_memory<int>(8);
  EXPECT_EQ(cudaMemcpyAsync(memory, on_host, 5 * sizeof(int), cudaMemcpyDefault, streams_[0]),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(memory, on_host, sizeof(int), cudaMemcpyDeviceToHost, streams_[0]),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(memory + 1, 0, 4 * sizeof(int), streams_[0]), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CudartStandIn, WhatBelongsToAnotherDeviceIsRefused) {
  cudaEvent_t event = nullptr;
  check(cudaSetDevice(1));
  check(cudaEventCreate(&event));
  EXPECT_EQ(cudaEventRecord(event, streams_[0]), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaSetDevice(8), cudaErrorInvalidDevice);
}

TEST_F(CudartStandIn, ADestroyedStreamStillDoesItsWork) {
  auto* memory = device_memory<unsigned char>(1);
  auto* on_host = pinned_memory<unsigned char>(1);
  *on_host = 0;
  hold(0);
  check(cudaMemsetAsync(memory, 5, 1, streams_[0]));
  check(cudaMemcpyAsync(on_host, memory, 1, cudaMemcpyDefault, streams_[0]));
  check(cudaStreamDestroy(streams_[0]));
  EXPECT_EQ(cudaStreamQuery(streams_[0]), cudaErrorInvalidResourceHandle);
  release();
  check(cudaDeviceSynchronize());
  EXPECT_EQ(*on_host, 5);
}

// A test that needs another environment runs in a process of its own, which starts afresh: `body`
// there says whether all is well.
void in_environment(const char* name, const char* value, const std::function<bool()>& body) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv(name, value, 1);
        const bool good = body();
        std::_Exit(good ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(CudartStandInEnvironment, NoDeviceIsSaid) {
  in_environment("STAND_IN_DEVICES", "0", [] {
    int count = -1;
    void* memory = nullptr;
    return cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0 &&
           cudaMalloc(&memory, 1) == cudaErrorNoDevice;
  });
}

TEST(CudartStandInEnvironment, NoDriverIsSaid) {
  in_environment("STAND_IN_DRIVER_VERSION", "0", [] {
    int version = -1;
    int count = -1;
    return cudaDriverGetVersion(&version) == cudaSuccess && version == 0 &&
           cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver;
  });
}

TEST(CudartStandInEnvironment, MemoryHasAnEnd) {
  in_environment("STAND_IN_MEMORY_BYTES", "1000", [] {
    void* one = nullptr;
    void* other = nullptr;
    return cudaMalloc(&one, 600) == cudaSuccess &&
           cudaMalloc(&other, 600) == cudaErrorMemoryAllocation && cudaFree(one) == cudaSuccess &&
           cudaMalloc(&other, 600) == cudaSuccess;
  });
}

TEST(CudartStandInEnvironment, AFullQueueMakesTheHostWait) {
  in_environment("STAND_IN_QUEUE", "4", [] {
    static std::atomic<bool> released = false;
    static std::atomic<int> asked = 0;
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    check(cudaLaunchHostFunc(
        stream, [](void*) { comes_true([] { return released.load(); }); }, nullptr));
    std::jthread host([stream] {
      for (int i = 0; i < 10; ++i) {
        check(cudaLaunchHostFunc(stream, [](void*) {}, nullptr));
        ++asked;
      }
    });
    // One is at work, four wait, and the next one has to.
    const bool waits =
        comes_true([] { return asked == 4; }) && !comes_true([] { return asked > 5; }, long_enough);
    released = true;
    host.join();
    return waits && asked == 10;
  });
}

TEST(CudartStandInEnvironment, WhatCannotBeReadEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("STAND_IN_DEVICES", "two", 1);
        int count = 0;
        static_cast<void>(cudaGetDeviceCount(&count));
      },
      testing::ExitedWithCode(2), "STAND_IN_DEVICES is 'two'; expected a whole number from 0");
}

}  // namespace
}  // namespace stand_in
