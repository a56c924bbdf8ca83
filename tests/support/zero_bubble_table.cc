#include "tests/support/zero_bubble_table.h"

#include <optional>
#include <ostream>
#include <string_view>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"

namespace dualpipe {

std::ostream& operator<<(std::ostream& out, const ZeroBubbleRow& row) {
  return out << row.shape.ranks << "x" << row.shape.microbatches;
}

double longest_rank_bubble(const ZeroBubbleRow& row, std::string_view family) {
  const StageCosts stage = stage_costs(row.durations);
  const CostModel costs = equal_costs(row.shape.ranks, stage, Time(row.p2p));
  const Schedule schedule =
      generate(find_family(family), row.shape,
               {.costs = costs,
                .memory = std::nullopt,  // A step of the largest row has 24 thousand ops.
                .effort = row.shape.ranks < 32 ? 3'000'000 : 8'000'000});
  const Metrics metrics =
      measure(simulate(compile_or_throw(schedule, eager), costs, {.transfers = false}));
  const Time work = row.shape.microbatches * (stage.forward + stage.backward());
  return 1.0 -
         static_cast<double>(work.count()) / static_cast<double>(metrics.longest_rank_time.count());
}

}  // namespace dualpipe
