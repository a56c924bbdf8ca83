// 1F1B-V: 1F1B on the V, with whole backwards. The two activations that a microbatch keeps on a
// rank live for about the same time in sum on every rank, so that all ranks need the same memory:
// about two thirds of what the first rank of 1F1B keeps, for a longer fill and drain.
//
// A building block, repeated every six slots, which is what a microbatch takes on a rank if its
// forwards take one slot and its backwards two (Qi et al., 2024). Forwards go down and come up one
// stage per slot. Backwards go down and come up one stage per two slots, with a pause of three
// before every third of them: after three stages the forwards have moved three slots and the
// backwards nine, which modulo six is where the rank's slots are free. Then whatever the ends of
// the step leave empty is used by later ops, without raising the peak.

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

constexpr int period = 6;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

int slots_of(OpKind kind) {
  return kind == OpKind::forward ? 1 : 2;
}

// When the stages run the backward of the microbatch that enters in slot 0. The pauses are counted
// from stage P, the first to come on the last rank; with P a multiple of three, one at the turn
// keeps the backwards clear of the forwards.
std::vector<int> backward_slots(int ranks) {
  std::vector<int> slots(at(2 * ranks));
  int slot = 2 * ranks + (ranks % 3 == 0 ? 3 : 0);
  for (int stage = 2 * ranks - 1; stage >= 0; --stage) {
    const bool first = stage == 2 * ranks - 1;
    slot += !first && (stage - ranks) % 3 == 0 ? 3 : 0;
    slots[at(stage)] = slot;
    slot += slots_of(OpKind::backward);
  }
  return slots;
}

struct Placed {
  int slot = 0;
  int rank = 0;
  Op op;
};

std::vector<Placed> repeated_blocks(const Shape& shape) {
  const Placement placement = v_placement(shape.ranks);
  const std::vector<int> backward = backward_slots(shape.ranks);
  std::vector<Placed> placed;
  for (int microbatch = 0; microbatch < shape.microbatches; ++microbatch) {
    for (int stage = 0; stage < placement.stages(); ++stage) {
      const int rank = placement.rank_of_stage.front()[at(stage)];
      const int begin = period * microbatch;
      placed.push_back({begin + stage, rank, {stage, OpKind::forward, microbatch}});
      placed.push_back({begin + backward[at(stage)], rank, {stage, OpKind::backward, microbatch}});
    }
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& one, const Placed& other) {
    return one.slot != other.slot ? one.slot < other.slot : one.rank < other.rank;
  });
  return placed;
}

// A rank's slots: which are taken, and how many activations are alive in each.
class RankSlots {
 public:
  explicit RankSlots(int slots) : taken_(at(slots)), alive_(at(slots)) {}

  void take(const Op& op, int slot) {
    for (int i = 0; i < slots_of(op.kind); ++i) {
      CHECK(taken_[at(slot + i)] == nullptr);
      taken_[at(slot + i)] = &op;
    }
  }
  void move(const Op& op, int from, int to) {
    for (int i = 0; i < slots_of(op.kind); ++i) {
      taken_[at(from + i)] = nullptr;
    }
    take(op, to);
    // A forward's activation is alive from its slot on, a backward's until after its second.
    const bool begins = op.kind == OpKind::forward;
    const int later = begins ? 0 : slots_of(op.kind);
    for (int slot = to + later; slot < from + later; ++slot) {
      alive_[at(slot)] += begins ? 1 : -1;
    }
  }
  // Of everything taken.
  int count_alive() {
    int alive = 0;
    int peak = 0;
    for (std::size_t slot = 0; slot < taken_.size(); ++slot) {
      const Op* op = taken_[slot];
      alive += op != nullptr && op->kind == OpKind::forward ? 1 : 0;
      peak = std::max(peak, alive);
      alive_[slot] = alive;
      const bool ends = op != nullptr && op->kind == OpKind::backward && taken_[slot - 1] == op;
      alive -= ends ? 1 : 0;
    }
    return peak;
  }

  // The first place for the op from `earliest` on and before `slot`, where it is; else that.
  [[nodiscard]] int free_place(const Op& op, int earliest, int slot) const {
    for (int place = earliest; place < slot; ++place) {
      bool fits = true;
      for (int i = 0; i < slots_of(op.kind); ++i) {
        const Op* other = taken_[at(place + i)];
        fits = fits && (other == nullptr || other == &op);
      }
      if (fits) {
        return place;
      }
    }
    return slot;
  }
  // How far back from `slot`, and not beyond `earliest`, one more activation stays under the peak.
  [[nodiscard]] int room_since(int slot, int earliest, int peak) const {
    while (slot > earliest && alive_[at(slot - 1)] < peak) {
      --slot;
    }
    return slot;
  }

  [[nodiscard]] std::vector<Slot> order() const {
    std::vector<Slot> slots;
    const Op* last = nullptr;
    for (const Op* op : taken_) {
      if (op != nullptr && op != last) {
        slots.emplace_back(*op);
        last = op;
      }
    }
    return slots;
  }

 private:
  std::vector<const Op*> taken_;
  std::vector<int> alive_;
};

// Takes the ops in the order of their slots, each to the first place that is free then.
class Squeeze {
 public:
  Squeeze(const std::vector<Placed>& placed, const Shape& shape)
      : placed_(placed), stages_(2 * shape.ranks) {
    const int slots = placed.back().slot + slots_of(OpKind::backward);
    ranks_.assign(at(shape.ranks), RankSlots(slots));
    for (const Placed& each : placed) {
      ranks_[at(each.rank)].take(each.op, each.slot);
    }
    for (RankSlots& rank : ranks_) {
      peak_ = std::max(peak_, rank.count_alive());
    }
    for (std::vector<int>& ends : ends_) {
      ends.assign(at(stages_ * shape.microbatches), 0);
    }
  }

  [[nodiscard]] RankOrders run() {
    for (const Placed& each : placed_) {
      RankSlots& rank = ranks_[at(each.rank)];
      int earliest = earliest_of(each.op);
      if (each.op.kind == OpKind::forward) {
        earliest = rank.room_since(each.slot, earliest, peak_);
      }
      const int place = rank.free_place(each.op, earliest, each.slot);
      if (place != each.slot) {
        rank.move(each.op, each.slot, place);
      }
      end_of(each.op) = place + slots_of(each.op.kind);
    }
    RankOrders orders;
    for (const RankSlots& rank : ranks_) {
      orders.push_back(rank.order());
    }
    return orders;
  }

 private:
  // After what it reads, and after the same op of the microbatch before.
  [[nodiscard]] int earliest_of(const Op& op) {
    int earliest = op.microbatch > 0 ? end_of({op.stage, op.kind, op.microbatch - 1}) : 0;
    for (const Value& value : reads(op, stages_)) {
      const OpKind writer =
          value.kind == ValueKind::activation ? OpKind::forward : OpKind::backward;
      earliest = std::max(earliest, end_of({value.stage, writer, value.microbatch}));
    }
    return earliest;
  }

  [[nodiscard]] int& end_of(const Op& op) {
    return ends_[op.kind == OpKind::forward ? 0 : 1][at(op.microbatch * stages_ + op.stage)];
  }

  const std::vector<Placed>& placed_;
  int stages_;
  int peak_ = 0;
  std::vector<RankSlots> ranks_;
  std::array<std::vector<int>, 2> ends_;  // [forward, backward][microbatch, stage]
};

RankOrders order(const Shape& shape) {
  const std::vector<Placed> placed = repeated_blocks(shape);
  return Squeeze(placed, shape).run();
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const Time F = stage.forward;
  ClosedForm known{.peak_activations = 2 * std::min(M, (2 * P + 3) / 3)};
  if (P == 1) {
    known.step_time = 2 * M * (F + stage.backward());
  } else if (P % 3 == 1 && M >= P && p2p == Time{} && stage.backward() == 2 * F) {
    known.step_time = (6 * M + 5 * (P - 1)) * F;
  }
  return known;
}

}  // namespace

constinit const Family one_f_one_b_v_family{
    .name = "1f1b-v",
    .summary = "1F1B on the V: two thirds of its memory, whole backwards",
    .source = "Qi et al., NeurIPS 2024, arXiv 2405.15362",
    .requirement = "at most 2048 ranks, any microbatches",
    .step_time_formula = "(6M + 5(P-1))F when B = 2F, P mod 3 = 1, M >= P",
    .supports = [](const Shape& shape) { return shape.ranks <= 2048; },
    .placement = [](const Shape& shape) { return v_placement(shape.ranks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
