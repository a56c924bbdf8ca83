#include "tests/gpu_stand_in/cudart/stream.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/settings.h"

namespace stand_in {

void Completion::complete() {
  time_ = std::chrono::steady_clock::now();
  done_.store(true);
  done_.notify_all();
}

Stream::Stream(Device& device, std::uint64_t number)
    : device_(device), random_(settings().seed * 65536 + number) {
  const auto start = std::make_shared<Completion>();
  start->complete();
  last_ = start;
}

std::shared_ptr<Stream> Stream::start(Device& device, std::uint64_t number) {
  std::shared_ptr<Stream> stream(new Stream(device, number));
  std::thread([stream] { stream->work_off(); }).detach();
  return stream;
}

std::shared_ptr<const Completion> Stream::push(Work work) {
  auto completion = std::make_shared<Completion>();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return items_.size() < settings().queue_capacity; });
    items_.push_back({.work = std::move(work), .completion = completion});
    last_ = completion;
  }
  changed_.notify_all();
  return completion;
}

std::shared_ptr<const Completion> Stream::last() const {
  const std::scoped_lock lock(mutex_);
  return last_;
}

void Stream::retire() {
  {
    const std::scoped_lock lock(mutex_);
    retired_ = true;
  }
  changed_.notify_all();
}

Stream::Item Stream::next() {
  Item item;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return retired_ || !items_.empty(); });
    if (items_.empty()) {
      return item;
    }
    item = std::move(items_.front());
    items_.pop_front();
  }
  changed_.notify_all();
  return item;
}

void Stream::pause() {
  const std::int64_t most = settings().delay_max.count();
  if (most > 0) {
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution<std::int64_t>(0, most)(random_)));
  }
}

void Stream::work_off() {
  for (Item item = next(); item.completion; item = next()) {
    pause();
    if (device_.fault() == cudaSuccess) {
      item.work();
    }
    // What the work holds on to goes before anybody can know that it is done.
    item.work = nullptr;
    item.completion->complete();
  }
}

}  // namespace stand_in
