#include "runtime/models/parameters.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "runtime/models/float_array.h"
#include "runtime/models/random.h"

namespace dualpipe {

FloatRange Parameters::append(std::string name, std::size_t size, bool decays) {
  const FloatRange range{.offset = values_.size(), .size = size};
  values_.resize(values_.size() + size);
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

}  // namespace dualpipe
