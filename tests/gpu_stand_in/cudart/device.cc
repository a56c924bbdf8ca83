#include "tests/gpu_stand_in/cudart/device.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/settings.h"
#include "tests/gpu_stand_in/cudart/stream.h"

namespace stand_in {

void Device::fail(cudaError_t error) {
  cudaError_t none = cudaSuccess;
  fault_.compare_exchange_strong(none, error);
}

std::shared_ptr<Stream> Device::default_stream() {
  const std::scoped_lock lock(mutex_);
  if (!default_stream_) {
    default_stream_ = Stream::start(*this, 0);
    streams_.push_back(default_stream_);
  }
  return default_stream_;
}

std::shared_ptr<Stream> Device::add_stream() {
  const std::scoped_lock lock(mutex_);
  ++streams_made_;
  const std::uint64_t number = static_cast<std::uint64_t>(number_) * 4096 + streams_made_;
  streams_.push_back(Stream::start(*this, number));
  return streams_.back();
}

void Device::remove_stream(const std::shared_ptr<Stream>& stream) {
  const std::scoped_lock lock(mutex_);
  std::erase(streams_, stream);
}

void Device::wait_for_all() {
  std::vector<std::shared_ptr<const Completion>> ends;
  {
    const std::scoped_lock lock(mutex_);
    for (const std::shared_ptr<Stream>& stream : streams_) {
      ends.push_back(stream->last());
    }
  }
  for (const std::shared_ptr<const Completion>& end : ends) {
    end->wait();
  }
}

bool Device::let_reach(int peer) {
  const std::scoped_lock lock(mutex_);
  return peers_.insert(peer).second;
}

bool Device::take_memory(std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  if (bytes > settings().memory_bytes - taken_bytes_) {
    return false;
  }
  taken_bytes_ += bytes;
  return true;
}

void Device::give_back_memory(std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  taken_bytes_ -= bytes;
}

std::size_t Device::free_memory() const {
  const std::scoped_lock lock(mutex_);
  return settings().memory_bytes - taken_bytes_;
}

}  // namespace stand_in
