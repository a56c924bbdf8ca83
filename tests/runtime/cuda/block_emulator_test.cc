#include "tests/support/block_emulator.h"

#include <array>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr std::size_t block_size = 64;

// Each block turns its part of the array around, through shared memory.
__global__ void reverse_blocks(int* values) {
  __shared__ std::array<int, block_size> kept;
  const std::size_t offset = static_cast<std::size_t>(blockIdx.x) * blockDim.x;
  kept[threadIdx.x] = values[offset + threadIdx.x];
  __syncthreads();
  values[offset + threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}

__global__ void reverse_blocks_without_barrier(int* values) {
  __shared__ std::array<int, block_size> kept;
  const std::size_t offset = static_cast<std::size_t>(blockIdx.x) * blockDim.x;
  kept[threadIdx.x] = values[offset + threadIdx.x];
  values[offset + threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}

// A running sum with a barrier in a loop: every thread takes part in each of the rounds.
__global__ void scan(int* values) {
  for (unsigned distance = 1; distance < blockDim.x; distance *= 2) {
    const int before = threadIdx.x < distance ? 0 : values[threadIdx.x - distance];
    __syncthreads();
    values[threadIdx.x] += before;
    __syncthreads();
  }
}

__global__ void only_the_first_waits() {
  if (threadIdx.x == 0) {
    __syncthreads();
  }
}

__global__ void write_place(unsigned* places) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  places[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread;
}

}  // namespace

namespace dualpipe {
namespace {

std::vector<int> counting(std::size_t size) {
  std::vector<int> values(size);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

std::vector<int> reversed(void (*kernel)(int*), bool backwards) {
  std::vector<int> values = counting(3 * block_size);
  run_blocks({.grid = {.x = 3}, .block = {.x = block_size}, .backwards = backwards},
             [&] { kernel(values.data()); });
  return values;
}

TEST(BlockEmulator, ThreadsExchangeThroughSharedMemoryAtABarrier) {
  for (const bool backwards : {false, true}) {
    const std::vector<int> values = reversed(reverse_blocks, backwards);
    for (std::size_t place = 0; place < values.size(); ++place) {
      const std::size_t block = place / block_size;
      EXPECT_EQ(values[place], (2 * block + 1) * block_size - 1 - place);
    }
  }
}

TEST(BlockEmulator, TheOtherOrderOfThreadsShowsAMissingBarrier) {
  EXPECT_NE(reversed(reverse_blocks_without_barrier, false),
            reversed(reverse_blocks_without_barrier, true));
}

TEST(BlockEmulator, BarriersInALoopKeepTheThreadsInStep) {
  std::vector<int> values = counting(block_size);
  run_blocks({.grid = {}, .block = {.x = block_size}}, [&] { scan(values.data()); });
  for (int place = 0; place < static_cast<int>(values.size()); ++place) {
    EXPECT_EQ(values[static_cast<std::size_t>(place)], place * (place + 1) / 2);
  }
}

TEST(BlockEmulator, RefusesABarrierThatNotAllThreadsComeTo) {
  const auto run = [] {
    run_blocks({.grid = {}, .block = {.x = 4}}, [] { only_the_first_waits(); });
  };
  EXPECT_THROW(run(), std::logic_error);
  EXPECT_THROW(run(), std::logic_error);  // and goes on working
}

TEST(BlockEmulator, EveryThreadOfEveryBlockRunsOnceInThreeDimensions) {
  const EmulatedLaunch launch{.grid = {.x = 2, .y = 3, .z = 2}, .block = {.x = 4, .y = 2, .z = 3}};
  std::vector<unsigned> places(std::size_t{12} * 24);
  run_blocks(launch, [&] { write_place(places.data()); });
  for (std::size_t place = 0; place < places.size(); ++place) {
    EXPECT_EQ(places[place], 1000 * (place / 24) + place % 24);
  }
}

}  // namespace
}  // namespace dualpipe
