#include "runtime/gradient_sum.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>
#include <span>
#include <vector>

#include "costs/check.h"
#include "runtime/device.h"

namespace dualpipe {

GradientSum::GradientSum(Device& device, std::size_t parameters, std::span<const int> arrivals,
                         int microbatches)
    : device_(device), microbatches_(microbatches) {
  for (const int microbatch : arrivals) {
    half_of(microbatch).microbatches.push_back(microbatch);
  }
  for (Half& half : halves_) {
    std::sort(half.microbatches.begin(), half.microbatches.end());
    half.sum = DeviceMemory(device, parameters * sizeof(float));
  }
  const std::size_t early = most_early(arrivals);
  for (std::size_t buffer = 0; buffer <= early; ++buffer) {
    buffers_.emplace_back(device, parameters * sizeof(float));
  }
  for (std::size_t buffer = 1; buffer <= early; ++buffer) {
    spare_.push_back(buffer);
  }
  early_.reserve(early);
}

// How many gradients wait at once, at worst.
std::size_t GradientSum::most_early(std::span<const int> arrivals) const {
  std::array<std::size_t, 2> next{};
  std::set<int> waiting;
  std::size_t most = 0;
  for (const int microbatch : arrivals) {
    waiting.insert(microbatch);
    for (std::size_t which = 0; which < halves_.size(); ++which) {
      const std::vector<int>& order = halves_[which].microbatches;
      while (next[which] < order.size() && waiting.erase(order[next[which]]) > 0) {
        ++next[which];
      }
    }
    most = std::max(most, waiting.size());
  }
  return most;
}

void GradientSum::add_in_order(Half& half, std::span<const float> gradient) {
  if (half.next == 0) {
    device_.copy(std::as_bytes(gradient), half.sum.bytes());
  } else {
    device_.add(gradient, half.sum.floats());
  }
  ++half.next;
}

void GradientSum::add(int microbatch) {
  Half& half = half_of(microbatch);
  if (half.next == half.microbatches.size()) {  // The step before is over.
    half.next = 0;
  }
  if (half.microbatches[half.next] != microbatch) {
    CHECK(!spare_.empty());
    early_.push_back({.microbatch = microbatch, .buffer = scratch_});
    scratch_ = spare_.back();
    spare_.pop_back();
    return;
  }
  add_in_order(half, buffers_[scratch_].floats());
  while (half.next < half.microbatches.size()) {
    const auto found = std::find_if(early_.begin(), early_.end(), [&](const Early& one) {
      return one.microbatch == half.microbatches[half.next];
    });
    if (found == early_.end()) {
      break;
    }
    add_in_order(half, buffers_[found->buffer].floats());
    spare_.push_back(found->buffer);
    early_.erase(found);
  }
}

std::span<float> GradientSum::finish() {
  const Half& first = halves_[0];
  const Half& second = halves_[1];
  CHECK(early_.empty());
  if (first.microbatches.empty()) {
    if (second.microbatches.empty()) {
      device_.zero(second.sum.bytes());  // The caller may have written to it.
    }
    return second.sum.floats();
  }
  if (!second.microbatches.empty()) {
    device_.add(second.sum.floats(), first.sum.floats());
  }
  return first.sum.floats();
}

}  // namespace dualpipe
