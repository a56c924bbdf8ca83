// A GPU as the runtime library sees it: its streams, how much of its memory is taken, and what it
// died of, if it did.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/stream.h"

namespace stand_in {

class Device {
 public:
  explicit Device(int number) : number_(number) {}

  [[nodiscard]] int number() const { return number_; }

  // A failure of work on the device stays: every call that has to do with it returns the first one
  // from then on.
  [[nodiscard]] cudaError_t fault() const { return fault_.load(); }
  void fail(cudaError_t error);

  [[nodiscard]] std::shared_ptr<Stream> default_stream();
  [[nodiscard]] std::shared_ptr<Stream> add_stream();
  void remove_stream(const std::shared_ptr<Stream>& stream);
  // Until all that has been asked for is done.
  void wait_for_all();

  // false: it was let before.
  [[nodiscard]] bool let_reach(int peer);

  // false: there is not that much.
  [[nodiscard]] bool take_memory(std::size_t bytes);
  void give_back_memory(std::size_t bytes);
  [[nodiscard]] std::size_t free_memory() const;

 private:
  const int number_;
  std::atomic<cudaError_t> fault_{cudaSuccess};
  mutable std::mutex mutex_;
  std::uint64_t streams_made_ = 0;
  std::shared_ptr<Stream> default_stream_;
  std::vector<std::shared_ptr<Stream>> streams_;
  std::size_t taken_bytes_ = 0;
  std::set<int> peers_;
};

}  // namespace stand_in
