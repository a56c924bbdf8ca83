// SlotKind: what measurements of slots are sorted by - the kind of the op, or that it is a pair.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "scheduler/op.h"
#include "scheduler/schedule.h"

namespace dualpipe {

enum class SlotKind : std::uint8_t { forward, backward, backward_input, backward_weight, pair };

inline constexpr std::array<std::string_view, 5> slot_kinds{"F", "B", "I", "W", "F&B"};

[[nodiscard]] constexpr std::string_view to_string(SlotKind kind) {
  return slot_kinds[static_cast<std::size_t>(kind)];
}

[[nodiscard]] inline SlotKind kind_of(const Slot& slot) {
  if (slot.is_pair()) {
    return SlotKind::pair;
  }
  switch (slot.front().kind) {
    case OpKind::forward:
      return SlotKind::forward;
    case OpKind::backward:
      return SlotKind::backward;
    case OpKind::backward_input:
      return SlotKind::backward_input;
    case OpKind::backward_weight:
      break;
  }
  return SlotKind::backward_weight;
}

}  // namespace dualpipe
