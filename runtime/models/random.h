// Random numbers addressed by a counter: a value is a pure function of (key, counter), so any rank
// computes any part of a tensor or of the training data by itself and gets the same bits.
// The standard library's distributions are not used, because each implementation has its own.

#pragma once

#include <cstdint>
#include <string_view>

namespace dualpipe {

struct RandomStream {
  std::uint64_t key = 0;

  // Streams of other names or indices are independent of this one and of each other.
  [[nodiscard]] RandomStream named(std::string_view name) const;
  [[nodiscard]] RandomStream child(std::uint64_t index) const;

  // Output number `counter` of splitmix64 seeded with the key.
  [[nodiscard]] std::uint64_t bits(std::uint64_t counter) const;
  // Standard normal.
  [[nodiscard]] double normal(std::uint64_t counter) const;
};

}  // namespace dualpipe
