#include "sim/tail.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// The gradients of one stage on one rank.
struct Gradients {
  int rank = 0;
  int stage = 0;
  Time ready{};  // end of the stage's last backward there; a rank that has none is never waited for

  [[nodiscard]] std::tuple<Time, int, int> order() const { return {ready, rank, stage}; }
};

// Of every copy of every stage.
class AllGradients {
 public:
  explicit AllGradients(const Timeline& timeline) {
    for (const std::vector<int>& rank_of : timeline.pipeline.placement.rank_of_stage) {
      std::vector<Gradients>& row = copies_.emplace_back();
      for (std::size_t stage = 0; stage < rank_of.size(); ++stage) {
        row.push_back({.rank = rank_of[stage], .stage = static_cast<int>(stage)});
      }
    }
    for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
      for (const Span& span : timeline.ranks[rank]) {
        for (const Op& op : span.slot) {
          if (op.kind == OpKind::backward || op.kind == OpKind::backward_weight) {
            finish(op.stage, static_cast<int>(rank), span.end);
          }
        }
      }
    }
  }

  // One for each rank that has the stage, by the time they are ready.
  [[nodiscard]] std::vector<Gradients> in_order() const {
    std::vector<Gradients> all;
    for (const std::vector<Gradients>& row : copies_) {
      for (const Gradients& one : row) {
        const bool is_counted = &row != &copies_.front() && copy(0, one.stage).rank == one.rank;
        if (!is_counted) {
          all.push_back(one);
        }
      }
    }
    std::ranges::sort(all, {}, &Gradients::order);
    return all;
  }

  // Those of the stage on its other rank; none where one rank alone has it.
  [[nodiscard]] const Gradients* replica_of(const Gradients& one) const {
    for (std::size_t direction = 0; direction < copies_.size(); ++direction) {
      if (const Gradients& other = copy(direction, one.stage); other.rank != one.rank) {
        return &other;
      }
    }
    return nullptr;
  }

 private:
  [[nodiscard]] const Gradients& copy(std::size_t direction, int stage) const {
    return copies_[direction][at(stage)];
  }

  void finish(int stage, int rank, Time end) {
    for (std::vector<Gradients>& row : copies_) {
      if (row[at(stage)].rank == rank) {
        row[at(stage)].ready = end;
      }
    }
  }

  std::vector<std::vector<Gradients>> copies_;  // [direction][stage]; twice the same where both
                                                // directions of a stage are on one rank
};

class Tail {
 public:
  Tail(Timeline& timeline, const CostModel& costs)
      : timeline_(timeline),
        costs_(costs),
        all_(timeline),
        reduced_(at(timeline.pipeline.ranks())) {}

  void run() {
    const std::vector<Gradients> gradients = all_.in_order();
    reduce(gradients);
    optimize(gradients, await_norm());
    std::ranges::sort(timeline_.tail, {}, [](const TailSpan& span) {
      return std::tuple(span.rank, span.begin, span.kind, span.stage);
    });
  }

 private:
  Time& reduced(int rank) { return reduced_[at(rank)]; }
  [[nodiscard]] const StageTail& tail_of(int stage) const { return costs_.stages[at(stage)].tail; }

  void add(TailKind kind, int rank, int stage, Time begin, Time duration) {
    if (duration != Time{}) {
      timeline_.tail.push_back(
          {.kind = kind, .rank = rank, .stage = stage, .begin = begin, .end = begin + duration});
    }
  }

  // An exchange waits for the later of its two ranks, so it is done when that one's gradients are
  // the next in the order of time.
  void reduce(const std::vector<Gradients>& gradients) {
    for (const Gradients& one : gradients) {
      const Gradients* const other = all_.replica_of(one);
      const StageTail& tail = tail_of(one.stage);
      if (other == nullptr) {
        const Time begin = std::max(reduced(one.rank), one.ready);
        reduced(one.rank) = begin;
        reduce_over_data(one.rank, one.stage);
        continue;
      }
      if (other->order() > one.order()) {
        continue;  // The other is later: it reduces for both.
      }
      const Time begin = std::max({reduced(one.rank), reduced(other->rank), one.ready});
      for (const int rank : {one.rank, other->rank}) {
        add(TailKind::replica_reduce, rank, one.stage, begin, tail.replica_reduce);
        reduced(rank) = begin + tail.replica_reduce;
        reduce_over_data(rank, one.stage);
      }
    }
  }

  void reduce_over_data(int rank, int stage) {
    const Time duration = tail_of(stage).gradient_reduce;
    add(TailKind::gradient_reduce, rank, stage, reduced(rank), duration);
    reduced(rank) += duration;
  }

  // When each rank's optimizer may begin.
  std::vector<Time> await_norm() {
    std::vector<Time> begins = reduced_;
    for (std::size_t rank = 0; rank < begins.size(); ++rank) {
      if (!timeline_.ranks[rank].empty()) {
        begins[rank] = std::max(begins[rank], timeline_.ranks[rank].back().end);
      }
    }
    if (costs_.post_validation) {
      return begins;
    }
    const Time known = *std::ranges::max_element(begins) + costs_.gradient_norm;
    for (std::size_t rank = 0; rank < begins.size(); ++rank) {
      add(TailKind::gradient_norm, static_cast<int>(rank), 0, begins[rank], known - begins[rank]);
    }
    return std::vector<Time>(begins.size(), known);
  }

  void optimize(const std::vector<Gradients>& gradients, std::vector<Time> begins) {
    std::vector<Time> gathered = begins;
    for (const Gradients& one : gradients) {
      const StageTail& tail = tail_of(one.stage);
      Time& clock = begins[at(one.rank)];
      add(TailKind::optimizer, one.rank, one.stage, clock, tail.optimizer);
      clock += tail.optimizer;
      Time& lane = gathered[at(one.rank)];
      lane = std::max(lane, clock);
      add(TailKind::parameter_gather, one.rank, one.stage, lane, tail.parameter_gather);
      lane += tail.parameter_gather;
    }
  }

  Timeline& timeline_;
  const CostModel& costs_;
  AllGradients all_;
  std::vector<Time> reduced_;  // [rank]: until when its reductions so far take
};

}  // namespace

bool has_tail(const CostModel& costs) {
  return costs.gradient_norm != Time{} ||
         std::any_of(costs.stages.begin(), costs.stages.end(),
                     [](const StageCosts& stage) { return stage.tail != StageTail{}; });
}

void append_tail(Timeline& timeline, const CostModel& costs) {
  if (has_tail(costs) && !is_forward_only(timeline.ranks, &Span::slot)) {
    Tail(timeline, costs).run();
  }
}

}  // namespace dualpipe
