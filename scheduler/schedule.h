// A schedule: for every rank, the order in which it runs its slots. It says nothing of time or
// communication; time is what the simulator computes and the runtime measures, communication is
// what compile() derives.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/op.h"
#include "scheduler/pipeline.h"

namespace dualpipe {

// What a rank runs as one piece: one op, or an overlapped pair - a forward of one microbatch
// together with the full backward of another. Iterates over its ops, a pair's forward first.
class Slot {
 public:
  Slot() = default;
  Slot(const Op& op) : ops_{op, Op{}} {}  // NOLINT(google-explicit-constructor): an op is a slot
  // Requires: a forward and a full backward.
  [[nodiscard]] static Slot pair(const Op& forward, const Op& backward);

  [[nodiscard]] bool is_pair() const { return size_ == 2; }
  [[nodiscard]] const Op& front() const { return ops_[0]; }
  [[nodiscard]] const Op& back() const { return ops_[size_ - 1]; }
  [[nodiscard]] const Op* begin() const { return ops_.data(); }
  [[nodiscard]] const Op* end() const { return ops_.data() + size_; }

  bool operator==(const Slot&) const = default;

 private:
  std::array<Op, 2> ops_{};
  std::uint32_t size_ = 1;
};

using RankOrders = std::vector<std::vector<Slot>>;  // [rank], in the order of execution

struct Schedule {
  Pipeline pipeline;
  RankOrders ranks;

  bool operator==(const Schedule&) const = default;
};

// Whether the lists, one per rank, have forwards and no backwards of any kind: inference. `slot_of`
// takes a Slot from an element of theirs.
template <typename Element, typename SlotOf>
[[nodiscard]] bool is_forward_only(const std::vector<std::vector<Element>>& ranks, SlotOf slot_of) {
  bool forwards = false;
  for (const std::vector<Element>& elements : ranks) {
    for (const Element& element : elements) {
      const Slot& slot = std::invoke(slot_of, element);
      if (slot.back().kind != OpKind::forward) {
        return false;
      }
      forwards = true;
    }
  }
  return forwards;
}
[[nodiscard]] inline bool is_forward_only(const Schedule& schedule) {
  return is_forward_only(schedule.ranks, std::identity{});
}

// The forwards alone, in their order; an overlapped pair becomes its forward.
[[nodiscard]] Schedule forward_only(Schedule schedule);

// For people, by the op that writes the value in this schedule: "1F3's output", "1I3's gradient".
// Requires: a value that travels, of a complete schedule. Linear in the slots of its rank.
[[nodiscard]] std::string name_of(const Value& value, const Schedule& schedule);

// "0F3", or PyTorch's "(0F7;7B3)OVERLAP_F_B".
[[nodiscard]] std::string to_string(const Slot& slot);

// Reads the text form back. Throws Error (invalid_schedule).
[[nodiscard]] Slot parse_slot(std::string_view text);

}  // namespace dualpipe
