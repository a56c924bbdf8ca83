// What the model `spin` sends across a boundary: who wrote it and a checksum, so that the stage
// that gets it can tell whether it is the one it should get.

#pragma once

#include <array>
#include <cstdint>

#include "runtime/stage.h"

namespace dualpipe {

struct SpinMessage {
  std::uint64_t is_gradient = 0;
  std::uint64_t step = 0;
  std::uint64_t stage = 0;  // that wrote it
  std::uint64_t microbatch = 0;
  std::array<std::uint64_t, 4> checksum{};

  bool operator==(const SpinMessage&) const = default;
};
static_assert(sizeof(SpinMessage) == 64);

// What that stage writes for this call.
[[nodiscard]] SpinMessage spin_message(bool is_gradient, int stage, const StageOp& op);

// Throws std::runtime_error naming both when they differ.
void require_same(const SpinMessage& expected, const SpinMessage& found);

}  // namespace dualpipe
