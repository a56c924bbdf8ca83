// Random whole numbers that are the same on every machine: std::uniform_int_distribution may differ
// between libraries, and a schedule must not.

#pragma once

#include <cstdint>
#include <random>

namespace dualpipe {

// 0 .. below-1. Requires: below > 0, and far below 2^64, so that all are about as likely.
[[nodiscard]] inline int draw(std::mt19937_64& random, int below) {
  return static_cast<int>(random() % static_cast<std::uint64_t>(below));
}

}  // namespace dualpipe
