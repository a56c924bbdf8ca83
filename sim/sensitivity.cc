#include "sim/sensitivity.h"

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "sim/durations.h"

namespace dualpipe {
namespace {

constexpr int percent = 100;

void shorten(Time& time) {
  time -= (time + Time(percent / 2)) / percent;
}

void shorten_stage(StageCosts& stage) {
  shorten(stage.forward);
  shorten(stage.backward_input);
  shorten(stage.backward_weight);
  shorten(stage.overlapped);
}

void shorten_kind(Sensitivity::Of of, CostModel& costs) {
  for (StageCosts& stage : costs.stages) {
    switch (of) {
      case Sensitivity::Of::forward:
        shorten(stage.forward);
        break;
      case Sensitivity::Of::backward_input:
        shorten(stage.backward_input);
        break;
      case Sensitivity::Of::backward_weight:
        shorten(stage.backward_weight);
        break;
      default:
        shorten(stage.overlapped);
        break;
    }
  }
}

void shorten_tail(CostModel& costs) {
  shorten(costs.gradient_norm);
  for (StageCosts& stage : costs.stages) {
    shorten(stage.tail.replica_reduce);
    shorten(stage.tail.gradient_reduce);
    shorten(stage.tail.optimizer);
    shorten(stage.tail.parameter_gather);
  }
}

void shorten_part(Sensitivity::Of of, int index, CostModel& costs) {
  if (of == Sensitivity::Of::transfer) {
    for (Time* const time :
         {&costs.p2p, &costs.p2p_latency, &costs.p2p_in_node, &costs.p2p_in_node_latency}) {
      shorten(*time);
    }
  } else if (of == Sensitivity::Of::tail) {
    shorten_tail(costs);
  } else if (of == Sensitivity::Of::stage) {
    shorten_stage(costs.stages[static_cast<std::size_t>(index)]);
  } else {
    shorten_kind(of, costs);
  }
}

}  // namespace

std::string_view to_string(Sensitivity::Of of) {
  constexpr std::array<std::string_view, 8> names{
      "forward",  "backward_input", "backward_weight", "overlapped",
      "transfer", "tail",           "stage",           "rank"};
  return names[static_cast<std::size_t>(of)];
}

// A stage may be on two ranks, so that no cost model says what one rank alone would gain.
void shorten_rank(const Program& program, int rank, StepDurations& durations) {
  const std::vector<std::size_t> first = first_slots(program);
  const std::size_t own = static_cast<std::size_t>(rank);
  for (std::size_t slot = first[own]; slot < first[own + 1]; ++slot) {
    shorten(durations.slots[slot]);
  }
}

std::vector<Sensitivity> sensitivities(const Pipeline& pipeline, const CostModel& costs,
                                       const StepTime& step_time) {
  using Of = Sensitivity::Of;
  std::vector<Sensitivity> rows;
  for (const Of of : {Of::forward, Of::backward_input, Of::backward_weight, Of::overlapped,
                      Of::transfer, Of::tail}) {
    rows.push_back({.of = of});
  }
  for (int stage = 0; stage < pipeline.stages(); ++stage) {
    rows.push_back({.of = Of::stage, .index = stage});
  }
  for (int rank = 0; rank < pipeline.ranks(); ++rank) {
    rows.push_back({.of = Of::rank, .index = rank});
  }
  constexpr int no_rank = -1;
  const Time whole = step_time(costs, no_rank);
  for (Sensitivity& row : rows) {
    if (row.of == Of::rank) {
      row.saved = whole - step_time(costs, row.index);
    } else {
      CostModel shorter = costs;
      shorten_part(row.of, row.index, shorter);
      row.saved = whole - step_time(shorter, no_rank);
    }
    row.elasticity = whole == Time{} ? 0.0
                                     : percent * static_cast<double>(row.saved.count()) /
                                           static_cast<double>(whole.count());
  }
  return rows;
}

}  // namespace dualpipe
