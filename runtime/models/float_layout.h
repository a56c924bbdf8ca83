// Memory of the built-in models: one flat array of floats, cut into named places. A slot's
// activations, a stage's scratch and a stage's gradient are all such arrays, so every layer says
// where its numbers are with ranges, and nothing is allocated while a step runs.

#pragma once

#include <cstddef>
#include <span>

namespace dualpipe {

// A place in a flat array.
struct FloatRange {
  std::size_t offset = 0;
  std::size_t size = 0;

  [[nodiscard]] std::span<float> in(std::span<float> whole) const {
    return whole.subspan(offset, size);
  }
  [[nodiscard]] std::span<const float> in(std::span<const float> whole) const {
    return whole.subspan(offset, size);
  }
};

// Hands out places one behind another, each beginning on a cache line.
class FloatLayout {
 public:
  [[nodiscard]] FloatRange add(std::size_t size);
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
};

// What a layer works on during one call: its microbatch's slot, and memory that means nothing
// between two calls and that all layers of a stage share.
struct StageMemory {
  std::span<float> slot;
  std::span<float> scratch;
};

// The floats of a message. Requires: aligned, and a whole number of them.
[[nodiscard]] std::span<float> as_floats(std::span<std::byte> bytes);
[[nodiscard]] std::span<const float> as_floats(std::span<const std::byte> bytes);

}  // namespace dualpipe
