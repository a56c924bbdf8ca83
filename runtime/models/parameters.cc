#include "runtime/models/parameters.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/random.h"

namespace dualpipe {

FloatRange Parameters::append(std::string name, std::size_t size, bool decays) {
  const FloatRange range{.offset = made_.size(), .size = size};
  CHECK(!moved_);
  made_.resize(made_.size() + size);
  tensors_.push_back({.name = std::move(name), .range = range, .decays = decays});
  return range;
}

FloatRange Parameters::add_weight(std::string name, std::size_t size, double deviation) {
  const RandomStream random = RandomStream{seed_}.named(name);
  const FloatRange range = append(std::move(name), size, true);
  std::uint64_t element = 0;
  for (float& value : range.in(values())) {
    value = static_cast<float>(deviation * random.normal(element++));
  }
  return range;
}

FloatRange Parameters::add_constant(std::string name, std::size_t size, float value) {
  const FloatRange range = append(std::move(name), size, false);
  std::ranges::fill(range.in(values()), value);
  return range;
}

// The copy between the two lies where the device's copies can read; giving it back waits for them.
void Parameters::move_to(Device& device) {
  CHECK(!moved_);
  const std::size_t bytes = made_.size() * sizeof(float);
  const DeviceMemory staging(device, bytes, MemoryHome::host);
  std::ranges::copy(made_, staging.floats().begin());
  memory_ = DeviceMemory(device, bytes);
  device.copy(staging.bytes(), memory_.bytes());
  made_ = {};
  moved_ = true;
}

}  // namespace dualpipe
