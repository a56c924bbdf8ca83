#include "scheduler/validate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

using Kind = Violation::Kind;

// Whether the parts of the schedule fit each other, so that the rest may index one by the other.
bool check_shape(const Schedule& schedule, Violations& violations) {
  const Pipeline& pipeline = schedule.pipeline;
  const auto refuse = [&](std::string message) {
    violations.add({.kind = Kind::shape, .rank = 0, .slot = -1, .message = std::move(message)});
    return false;
  };
  if (pipeline.placement.rank_of_stage.empty() ||
      pipeline.placement.rank_of_stage.front().empty() || pipeline.direction.empty()) {
    return refuse("the schedule has no stages or no microbatches");
  }
  if (schedule.ranks.size() != static_cast<std::size_t>(pipeline.ranks())) {
    return refuse(fmt::format("the placement is for {} ranks, but the schedule has {} rows",
                              pipeline.ranks(), schedule.ranks.size()));
  }
  for (const std::vector<int>& rank_of : pipeline.placement.rank_of_stage) {
    if (rank_of.size() != static_cast<std::size_t>(pipeline.stages())) {
      return refuse("the directions of the placement have different numbers of stages");
    }
    for (const int rank : rank_of) {
      if (rank < 0 || rank >= pipeline.ranks()) {
        return refuse(fmt::format("the placement names rank {}, but the ranks are 0..{}", rank,
                                  pipeline.ranks() - 1));
      }
    }
  }
  for (const int direction : pipeline.direction) {
    if (direction < 0 || direction >= pipeline.placement.directions()) {
      return refuse(fmt::format("a microbatch has direction {}, but the directions are 0..{}",
                                direction, pipeline.placement.directions() - 1));
    }
  }
  return true;
}

bool check_ops_in_range(const Schedule& schedule, Violations& violations) {
  const int stages = schedule.pipeline.stages();
  const int microbatches = schedule.pipeline.microbatches();
  bool in_range = true;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    for (std::size_t slot = 0; slot < schedule.ranks[rank].size(); ++slot) {
      for (const Op& op : schedule.ranks[rank][slot]) {
        if (op.stage >= 0 && op.stage < stages && op.microbatch >= 0 &&
            op.microbatch < microbatches) {
          continue;
        }
        in_range = false;
        violations.add({.kind = Kind::shape,
                        .rank = static_cast<int>(rank),
                        .slot = static_cast<int>(slot),
                        .message = fmt::format("{} is outside the schedule's {} stages and {} "
                                               "microbatches",
                                               to_string(op), stages, microbatches)});
      }
    }
  }
  return in_range;
}

// Where the ops of every stage and microbatch are.
class Census {
 public:
  Census(const Schedule& schedule, Violations& violations)
      : schedule_(schedule),
        pipeline_(schedule.pipeline),
        violations_(violations),
        forward_only_(is_forward_only(schedule)),
        found_(static_cast<std::size_t>(pipeline_.stages()) *
               static_cast<std::size_t>(pipeline_.microbatches())) {}

  // Records every op, with violations for those that are there twice or on a wrong rank.
  void count() {
    for (int rank = 0; rank < pipeline_.ranks(); ++rank) {
      for (int slot = 0; slot < slots_of(rank); ++slot) {
        for (const Op& op : slot_at(rank, slot)) {
          record(op, rank, slot);
        }
      }
    }
  }

  void check_complete() {
    for (int stage = 0; stage < pipeline_.stages(); ++stage) {
      for (int microbatch = 0; microbatch < pipeline_.microbatches(); ++microbatch) {
        check_complete(stage, microbatch);
      }
    }
  }

  // Requires: every op is there once and on its rank.
  void check_order() {
    if (!out_of_order_) {
      return;
    }
    for (int rank = 0; rank < pipeline_.ranks(); ++rank) {
      for (int slot = 0; slot < slots_of(rank); ++slot) {
        for (const Op& op : slot_at(rank, slot)) {
          check_order(op, rank, slot);
        }
      }
    }
  }

 private:
  static constexpr std::int32_t absent = -1;
  struct Found {
    std::int32_t forward = absent;
    std::int32_t backward = absent;  // whole, or its input half
    std::int32_t weight = absent;
    bool whole = false;
  };

  [[nodiscard]] int slots_of(int rank) const {
    return static_cast<int>(schedule_.ranks[static_cast<std::size_t>(rank)].size());
  }
  [[nodiscard]] const Slot& slot_at(int rank, int slot) const {
    return schedule_.ranks[static_cast<std::size_t>(rank)][static_cast<std::size_t>(slot)];
  }
  [[nodiscard]] Found& found(int stage, int microbatch) {
    return found_[static_cast<std::size_t>(stage) *
                      static_cast<std::size_t>(pipeline_.microbatches()) +
                  static_cast<std::size_t>(microbatch)];
  }

  void record(const Op& op, int rank, int slot) {
    Found& entry = found(op.stage, op.microbatch);
    std::int32_t* position = &entry.backward;
    if (op.kind == OpKind::forward) {
      position = &entry.forward;
    } else if (op.kind == OpKind::backward_weight) {
      position = &entry.weight;
    }
    if (*position != absent) {
      violations_.add(
          {.kind = Kind::duplicate,
           .rank = rank,
           .slot = slot,
           .message = fmt::format(
               "{} is there a second time{}", to_string(op),
               position == &entry.backward ? " (each microbatch has one B, or one I and W)" : "")});
      return;
    }
    out_of_order_ = out_of_order_ || reads_what_is_not_there(op, rank, slot);
    *position = slot;
    if (position == &entry.backward) {
      entry.whole = op.kind == OpKind::backward;
    }
    const int home = pipeline_.rank_of(op.stage, op.microbatch);
    if (rank != home) {
      violations_.add({.kind = Kind::placement,
                       .rank = rank,
                       .slot = slot,
                       .message = fmt::format("{} is on rank {}, but stage {} of microbatch {} "
                                              "lives on rank {}",
                                              to_string(op), rank, op.stage, op.microbatch, home)});
    }
  }

  // Whether the op reads a value of this rank that no earlier slot has written: while the ops of a
  // rank are counted in order, those counted are those before.
  [[nodiscard]] bool reads_what_is_not_there(const Op& op, int rank, int slot) {
    for (const Value& value : reads(op, pipeline_.stages())) {
      Op writer;
      const std::int32_t written = written_in(value, writer);
      if ((written == absent || written == slot) &&
          pipeline_.rank_of(value.stage, value.microbatch) == rank) {
        return true;
      }
    }
    return false;
  }

  void check_complete(int stage, int microbatch) {
    const Found& entry = found(stage, microbatch);
    const int rank = pipeline_.rank_of(stage, microbatch);
    const auto op = [&](OpKind kind) { return to_string(Op{stage, kind, microbatch}); };
    if (entry.forward == absent) {
      violations_.add({.kind = Kind::missing,
                       .rank = rank,
                       .slot = -1,
                       .message = op(OpKind::forward) + " is missing"});
    }
    if (forward_only_) {
      return;
    }
    if (entry.backward == absent) {
      violations_.add(
          {.kind = Kind::missing,
           .rank = rank,
           .slot = -1,
           .message = fmt::format("{} (or {} and {}) is missing", op(OpKind::backward),
                                  op(OpKind::backward_input), op(OpKind::backward_weight))});
    } else if (!entry.whole && entry.weight == absent) {
      violations_.add(
          {.kind = Kind::missing,
           .rank = rank,
           .slot = entry.backward,
           .message = fmt::format("{} is missing, which {} leaves to be done",
                                  op(OpKind::backward_weight), op(OpKind::backward_input))});
    } else if (entry.whole && entry.weight != absent) {
      violations_.add({.kind = Kind::duplicate,
                       .rank = rank,
                       .slot = entry.weight,
                       .message = fmt::format("{} does again what {} has done",
                                              op(OpKind::backward_weight), op(OpKind::backward))});
    }
  }

  // The slot in which `value` is written, and the op that writes it.
  [[nodiscard]] std::int32_t written_in(const Value& value, Op& writer) {
    const Found& entry = found(value.stage, value.microbatch);
    if (value.kind == ValueKind::activation) {
      writer = {value.stage, OpKind::forward, value.microbatch};
      return entry.forward;
    }
    writer = {value.stage, entry.whole ? OpKind::backward : OpKind::backward_input,
              value.microbatch};
    return entry.backward;
  }

  void check_order(const Op& op, int rank, int slot) {
    for (const Value& value : reads(op, pipeline_.stages())) {
      if (pipeline_.rank_of(value.stage, value.microbatch) != rank) {
        continue;  // A message: it arrives when it arrives.
      }
      Op writer;
      const std::int32_t written = written_in(value, writer);
      if (written >= slot) {
        violations_.add(
            {.kind = Kind::order,
             .rank = rank,
             .slot = slot,
             .message = fmt::format("{} {} {}, whose result it reads", to_string(op),
                                    written == slot ? "is overlapped with" : "comes before",
                                    to_string(writer))});
      }
    }
  }

  const Schedule& schedule_;
  const Pipeline& pipeline_;
  Violations& violations_;
  bool forward_only_ = false;  // inference: there is nothing else to be missed
  std::vector<Found> found_;   // [stage][microbatch]
  bool out_of_order_ = false;  // somewhere; check_order() says where
};

std::size_t count_ops(const Schedule& schedule) {
  std::size_t ops = 0;
  for (const std::vector<Slot>& slots : schedule.ranks) {
    for (const Slot& slot : slots) {
      ops += slot.is_pair() ? 2 : 1;
    }
  }
  return ops;
}

}  // namespace

void validate(const Schedule& schedule, Violations& violations) {
  if (!check_shape(schedule, violations) || !check_ops_in_range(schedule, violations)) {
    return;
  }
  constexpr std::size_t always_affordable = 1'000'000;
  const std::size_t forwards_needed = static_cast<std::size_t>(schedule.pipeline.stages()) *
                                      static_cast<std::size_t>(schedule.pipeline.microbatches());
  const std::size_t ops = count_ops(schedule);
  if (forwards_needed > std::max(ops, always_affordable)) {
    violations.add(
        {.kind = Kind::missing,
         .rank = 0,
         .slot = -1,
         .message = fmt::format("{} stages and {} microbatches need {} forwards, but the "
                                "schedule has {} ops in all",
                                schedule.pipeline.stages(), schedule.pipeline.microbatches(),
                                forwards_needed, ops)});
    return;
  }
  Census census(schedule, violations);
  census.count();
  census.check_complete();
  if (violations.empty()) {
    census.check_order();
  }
}

// PyTorch's loss is taken of whatever the last stage has run, in that order, and matched with the
// targets in the order of microbatches.
std::vector<std::string> warnings_of(const Schedule& schedule) {
  const Pipeline& pipeline = schedule.pipeline;
  const int last = pipeline.stages() - 1;
  if (pipeline.placement.directions() > 1 || is_forward_only(schedule)) {
    return {};  // PyTorch cannot express two directions; without a backward there is no gradient.
  }
  const int rank = pipeline.placement.rank_of_stage.front()[static_cast<std::size_t>(last)];
  int previous = -1;
  for (const Slot& slot : schedule.ranks[static_cast<std::size_t>(rank)]) {
    const Op& op = slot.front();
    if (op.kind != OpKind::forward || op.stage != last) {
      continue;
    }
    if (op.microbatch < previous) {
      return {fmt::format(
          "rank {} runs {} after {}: from forwards of the last stage that are not in the order of "
          "microbatches, PyTorch computes wrong gradients",
          rank, to_string(op), to_string(Op{last, OpKind::forward, previous}))};
    }
    previous = op.microbatch;
  }
  return {};
}

}  // namespace dualpipe
