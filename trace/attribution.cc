#include "trace/attribution.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/slot_time.h"
#include "trace/critical_path.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// As much of `excess` as there is of `time`, which it is taken from.
Time take(Time& time, Time excess) {
  const Time taken = std::clamp(excess, Time{}, time);
  time -= taken;
  return taken;
}

class Attribution {
 public:
  Attribution(const Timeline& timeline, const CostModel& costs)
      : timeline_(timeline),
        costs_(costs),
        mean_costs_(with_mean_stages(costs)),
        chains_(timeline),
        last_(chains_.last(Chains::Tie::message)) {
    CHECK(costs.stages.size() == at(timeline.pipeline.stages()));
    if (!last_.empty()) {
      begin_ = last_.back().begin;
      slots_end_ = last_.front().end;
    } else {  // Slots take no time, and so are all at one instant.
      for (const std::vector<Span>& spans : timeline.ranks) {
        begin_ = slots_end_ = spans.empty() ? begin_ : spans.front().begin;
      }
    }
    step_end_ = begin_ + makespan(timeline);
  }

  [[nodiscard]] IdleCauses of_rank(int rank) const {
    IdleCauses causes;
    const std::vector<Span>& spans = timeline_.ranks[at(rank)];
    Time idle_from = begin_;
    for (std::size_t slot = 0; slot < spans.size(); ++slot) {
      if (idle_from < spans[slot].begin) {
        Time& computing = slot == 0 ? causes.warm_up : causes.dependency;
        const RankSlot waiting{.rank = rank, .slot = static_cast<int>(slot)};
        for (const Piece& piece : chains_.before(waiting, idle_from)) {
          add(piece, computing, causes);
        }
      }
      idle_from = spans[slot].end;
    }
    for (const TailSpan& span : timeline_.tail) {
      if (span.rank == rank && span.kind == TailKind::optimizer) {  // which keeps the rank busy
        add_end(idle_from, span.begin, causes);
        idle_from = std::max(idle_from, span.end);
      }
    }
    add_end(idle_from, step_end_, causes);
    return causes;
  }

 private:
  // Idle time after the rank's last slot: what others compute by then, and when no rank has slots
  // any more, the end of the step.
  void add_end(Time from, Time to, IdleCauses& causes) const {
    for (Piece piece : last_) {
      piece.begin = std::max(piece.begin, from);
      piece.end = std::min(piece.end, to);
      if (piece.begin < piece.end) {
        add(piece, causes.cool_down, causes);
      }
    }
    causes.barrier += std::max(Time{}, to - std::max(from, slots_end_));
  }

  // What is left of a slot when its excess is taken counts as `computing`.
  void add(const Piece& piece, Time& computing, IdleCauses& causes) const {
    const Span& span = timeline_.ranks[at(piece.slot.rank)][at(piece.slot.slot)];
    Time left = piece.duration();
    switch (piece.kind) {
      case Piece::Kind::slot: {
        const Time nominal = slot_time(span.slot, costs_);
        causes.jitter += take(left, piece.whole - nominal);
        causes.imbalance += take(left, nominal - slot_time(span.slot, mean_costs_));
        computing += left;
        break;
      }
      case Piece::Kind::transfer: {
        causes.contention +=
            take(left, piece.whole - costs_.transfer(piece.slot.rank, piece.destination));
        causes.transfer += left;
        break;
      }
      case Piece::Kind::tail:  // follows the slots, and is in no chain of them
      case Piece::Kind::unexplained:
        causes.unexplained += left;
        break;
    }
  }

  const Timeline& timeline_;
  const CostModel& costs_;
  CostModel mean_costs_;
  Chains chains_;
  std::vector<Piece> last_;  // latest first
  Time begin_{};             // of the step
  Time slots_end_{};
  Time step_end_{};
};

}  // namespace

Time IdleCauses::total() const {
  Time sum{};
  for (const IdleCause& cause : idle_causes) {
    sum += this->*cause.time;
  }
  return sum;
}

IdleCauses& IdleCauses::operator+=(const IdleCauses& other) {
  for (const IdleCause& cause : idle_causes) {
    this->*cause.time += other.*cause.time;
  }
  return *this;
}

std::vector<IdleCauses> attribute_idle(const Timeline& timeline, const CostModel& costs) {
  const Attribution attribution(timeline, costs);
  std::vector<IdleCauses> ranks;
  for (int rank = 0; rank < timeline.pipeline.ranks(); ++rank) {
    ranks.push_back(attribution.of_rank(rank));
  }
  return ranks;
}

}  // namespace dualpipe
