#include "scheduler/schedule.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/error.h"
#include "scheduler/op.h"

namespace dualpipe {

Slot Slot::pair(const Op& forward, const Op& backward) {
  CHECK(forward.kind == OpKind::forward && backward.kind == OpKind::backward);
  Slot slot;
  slot.ops_ = {forward, backward};
  slot.size_ = 2;
  return slot;
}

Schedule forward_only(Schedule schedule) {
  for (std::vector<Slot>& slots : schedule.ranks) {
    std::vector<Slot> forwards;
    for (const Slot& slot : slots) {
      if (slot.front().kind == OpKind::forward) {
        forwards.emplace_back(slot.front());
      }
    }
    slots = std::move(forwards);
  }
  return schedule;
}

std::string name_of(const Value& value, const Schedule& schedule) {
  CHECK(value.kind != ValueKind::weight_operands);
  if (value.kind == ValueKind::activation) {
    return to_string(Op{value.stage, OpKind::forward, value.microbatch}) + "'s output";
  }
  const Op whole{value.stage, OpKind::backward, value.microbatch};
  const int rank = schedule.pipeline.rank_of(value.stage, value.microbatch);
  for (const Slot& slot : schedule.ranks[static_cast<std::size_t>(rank)]) {
    if (slot.back() == whole) {
      return to_string(whole) + "'s gradient";
    }
  }
  return to_string(Op{value.stage, OpKind::backward_input, value.microbatch}) + "'s gradient";
}

std::string to_string(const Slot& slot) {
  if (!slot.is_pair()) {
    return to_string(slot.front());
  }
  return "(" + to_string(slot.front()) + ";" + to_string(slot.back()) + ")OVERLAP_F_B";
}

Slot parse_slot(std::string_view text) {
  if (text.empty() || text.front() != '(') {
    return parse_op(text);
  }
  constexpr std::string_view ending = ")OVERLAP_F_B";
  const std::size_t middle = text.find(';');
  if (middle == std::string_view::npos || !text.ends_with(ending) ||
      middle + ending.size() >= text.size()) {
    throw Error(
        ExitCode::invalid_schedule,
        "'" + std::string(text.substr(0, 60)) +
            "' is not an overlapped pair: expected (<forward>;<backward>)OVERLAP_F_B, as in "
            "(0F7;7B3)OVERLAP_F_B");
  }
  const Op forward = parse_op(text.substr(1, middle - 1));
  const Op backward = parse_op(text.substr(middle + 1, text.size() - ending.size() - middle - 1));
  if (forward.kind != OpKind::forward || backward.kind != OpKind::backward) {
    throw Error(ExitCode::invalid_schedule,
                "'" + std::string(text.substr(0, 60)) +
                    "' overlaps the wrong ops: expected a forward (F), then a full backward (B)");
  }
  return Slot::pair(forward, backward);
}

}  // namespace dualpipe
