#include "runtime/models/float_layout.h"

#include <cstddef>
#include <cstdint>
#include <span>

#include "costs/check.h"

namespace dualpipe {
namespace {

constexpr std::size_t line_floats = 64 / sizeof(float);

bool holds_floats(std::span<const std::byte> bytes) {
  return bytes.size() % sizeof(float) == 0 &&
         reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) == 0;
}

}  // namespace

FloatRange FloatLayout::add(std::size_t size) {
  const FloatRange range{.offset = size_, .size = size};
  size_ += (size + line_floats - 1) / line_floats * line_floats;
  return range;
}

std::span<float> as_floats(std::span<std::byte> bytes) {
  CHECK(holds_floats(bytes));
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

std::span<const float> as_floats(std::span<const std::byte> bytes) {
  CHECK(holds_floats(bytes));
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

}  // namespace dualpipe
