#include "tests/support/random_schedule.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

Pipeline random_pipeline(std::mt19937& random, const Extents& extents) {
  Pipeline pipeline;
  pipeline.name = "random " + std::to_string(draw(random, 0, 999));
  pipeline.placement.ranks = draw(random, 1, extents.ranks);
  const int stages = draw(random, 1, extents.stages);
  const int directions = draw(random, 1, 2);
  for (int direction = 0; direction < directions; ++direction) {
    std::vector<int>& rank_of = pipeline.placement.rank_of_stage.emplace_back();
    for (int stage = 0; stage < stages; ++stage) {
      rank_of.push_back(draw(random, 0, pipeline.ranks() - 1));
    }
  }
  const int microbatches = draw(random, 1, extents.microbatches);
  for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
    pipeline.direction.push_back(draw(random, 0, directions - 1));
  }
  return pipeline;
}

// Runs ops that are ready, one after the other, and notes where.
class RandomRun {
 public:
  RandomRun(std::mt19937& random, Pipeline pipeline) : random_(random) {
    schedule_.pipeline = std::move(pipeline);
    schedule_.ranks.resize(static_cast<std::size_t>(schedule_.pipeline.ranks()));
    for (int microbatch = 0; microbatch < schedule_.pipeline.microbatches(); ++microbatch) {
      for (int stage = 0; stage < schedule_.pipeline.stages(); ++stage) {
        waiting_.insert({stage, OpKind::forward, microbatch});
        if (draw(random_, 0, 2) > 0) {
          waiting_.insert({stage, OpKind::backward, microbatch});
        } else {
          waiting_.insert({stage, OpKind::backward_input, microbatch});
          waiting_.insert({stage, OpKind::backward_weight, microbatch});
        }
      }
    }
  }

  Schedule run() {
    while (!waiting_.empty()) {
      const std::vector<Op> ready = ready_ops();
      CHECK(!ready.empty());
      const Op op =
          ready[static_cast<std::size_t>(draw(random_, 0, static_cast<int>(ready.size()) - 1))];
      Slot slot = op;
      if (op.kind == OpKind::forward && draw(random_, 0, 1) == 1) {
        slot = with_partner(op, ready);
      }
      execute(slot);
    }
    return std::move(schedule_);
  }

 private:
  using Lane = std::tuple<int, int, ValueKind>;  // source, destination

  [[nodiscard]] int rank_of(const Op& op) const {
    return schedule_.pipeline.rank_of(op.stage, op.microbatch);
  }
  [[nodiscard]] Lane lane_of(const Value& value, int reader) const {
    return {schedule_.pipeline.rank_of(value.stage, value.microbatch), reader, value.kind};
  }

  // A message is ready when it is the next of its channel.
  [[nodiscard]] bool is_ready(const Op& op) const {
    const Values values = reads(op, schedule_.pipeline.stages());
    return std::all_of(values.begin(), values.end(), [&](const Value& value) {
      const Lane lane = lane_of(value, rank_of(op));
      if (value.stage == op.stage || std::get<0>(lane) == std::get<1>(lane)) {
        return written_.contains(value);
      }
      const auto messages = messages_.find(lane);
      return messages != messages_.end() && !messages->second.empty() &&
             messages->second.front() == value;
    });
  }
  [[nodiscard]] std::vector<Op> ready_ops() const {
    std::vector<Op> ready;
    std::copy_if(waiting_.begin(), waiting_.end(), std::back_inserter(ready),
                 [&](const Op& op) { return is_ready(op); });
    return ready;
  }
  // An overlapped pair of `forward` and a whole backward of this rank, if one is ready too.
  [[nodiscard]] Slot with_partner(const Op& forward, const std::vector<Op>& ready) const {
    for (const Op& op : ready) {
      if (op.kind == OpKind::backward && rank_of(op) == rank_of(forward)) {
        return Slot::pair(forward, op);
      }
    }
    return forward;
  }

  void execute(const Slot& slot) {
    const int rank = rank_of(slot.front());
    schedule_.ranks[static_cast<std::size_t>(rank)].push_back(slot);
    for (const Op& op : slot) {
      waiting_.erase(op);
      for (const Value& value : reads(op, schedule_.pipeline.stages())) {
        const Lane lane = lane_of(value, rank);
        if (value.stage != op.stage && std::get<0>(lane) != rank) {
          messages_[lane].pop_front();
        }
      }
    }
    for (const Op& op : slot) {
      for (const Value& value : writes(op)) {
        written_.insert(value);
        const int receiver = receiving_stage(value, schedule_.pipeline.stages());
        if (receiver >= 0 && schedule_.pipeline.rank_of(receiver, value.microbatch) != rank) {
          messages_[{rank, schedule_.pipeline.rank_of(receiver, value.microbatch), value.kind}]
              .push_back(value);
        }
      }
    }
  }

  std::mt19937& random_;
  Schedule schedule_;
  std::set<Op> waiting_;
  std::set<Value> written_;
  std::map<Lane, std::deque<Value>> messages_;
};

}  // namespace

int draw(std::mt19937& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

Schedule random_schedule(std::mt19937& random, const Extents& extents) {
  Pipeline pipeline = random_pipeline(random, extents);
  return RandomRun(random, std::move(pipeline)).run();
}

CostModel random_costs(std::mt19937& random, int stages) {
  CostModel costs;
  for (int stage = 0; stage < stages; ++stage) {
    StageCosts one{
        .forward = Time(draw(random, 0, 100)),
        .backward_input = Time(draw(random, 0, 100)),
        .backward_weight = Time(draw(random, 0, 100)),
        .bytes = {.activation = draw(random, 0, 100), .weight_operands = draw(random, 0, 100)}};
    const Time longer = std::max(one.forward, one.backward());
    const Time apart = one.forward + one.backward();
    one.overlapped = longer + Time(draw(random, 0, static_cast<int>((apart - longer).count()) + 5));
    costs.stages.push_back(one);
  }
  costs.p2p = Time(draw(random, 0, 1) * draw(random, 0, 100));
  return costs;
}

}  // namespace dualpipe
