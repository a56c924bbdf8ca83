// The simulator against a second, naive implementation, and against what must hold of any
// simulator.

#include "tests/support/longest_path.h"

#include <cstddef>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/simulate.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Case {
  Schedule schedule;
  CostModel costs;
  Timeline timeline;
  std::string trace;
};

Case random_case(unsigned seed) {
  std::mt19937 random(seed);
  Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
  CostModel costs = random_costs(random, schedule.pipeline.stages());
  Timeline timeline = simulate(compile_or_throw(schedule, eager), costs);
  std::string trace = "seed " + std::to_string(seed) + "\n" + to_text(schedule);
  return {std::move(schedule), std::move(costs), std::move(timeline), std::move(trace)};
}

TEST(Simulator, EqualsTheNaiveLongestPathOnRandomSchedules) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    const Case one = random_case(seed);
    ASSERT_EQ(one.timeline.ranks, longest_path(one.schedule, one.costs)) << one.trace;
  }
}

TEST(Simulator, EqualsTheNaiveLongestPathOnEveryFamily) {
  std::mt19937 random(7);
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 5, .microbatches = 11, .chunks = 3})) {
      const Schedule schedule = quickly_generated(*family, shape);
      const CostModel costs = random_costs(random, schedule.pipeline.stages());
      ASSERT_EQ(simulate(compile_or_throw(schedule, eager), costs).ranks,
                longest_path(schedule, costs))
          << to_string(*family, shape);
    }
  }
}

CostModel scaled(CostModel costs, int factor) {
  for (StageCosts& stage : costs.stages) {
    stage.forward *= factor;
    stage.backward_input *= factor;
    stage.backward_weight *= factor;
    stage.overlapped *= factor;
  }
  costs.p2p *= factor;
  return costs;
}

Timeline scaled(Timeline timeline, int factor) {
  for (std::vector<Span>& spans : timeline.ranks) {
    for (Span& span : spans) {
      span.begin *= factor;
      span.end *= factor;
    }
  }
  for (Transfer& transfer : timeline.transfers) {
    transfer.begin *= factor;
    transfer.end *= factor;
  }
  return timeline;
}

TEST(Simulator, ScalingAllCostsScalesAllTimes) {
  for (unsigned seed = 1000; seed < 1100; ++seed) {
    const Case one = random_case(seed);
    const Program program = compile_or_throw(one.schedule, eager);
    const CostModel even = scaled(one.costs, 2);  // so that half of what a stage saves is whole
    EXPECT_EQ(simulate(program, scaled(even, 7)), scaled(simulate(program, even), 7)) << one.trace;
  }
}

// A transfer begins when the slot that wrote its value ends, lasts p2p, and is there before the
// slot that reads it begins; each message of a channel arrives after the one before.
TEST(Simulator, TransfersFitTheSpansAndArriveInOrder) {
  for (unsigned seed = 2000; seed < 2200; ++seed) {
    const Case one = random_case(seed);
    SCOPED_TRACE(one.trace);
    std::map<Value, Time> written;
    std::map<std::tuple<int, Value>, Time> read;
    for (std::size_t rank = 0; rank < one.timeline.ranks.size(); ++rank) {
      for (const Span& span : one.timeline.ranks[rank]) {
        for (const Op& op : span.slot) {
          for (const Value& value : writes(op)) {
            written[value] = span.end;
          }
          for (const Value& value : reads(op, one.schedule.pipeline.stages())) {
            read[{static_cast<int>(rank), value}] = span.begin;
          }
        }
      }
    }
    std::map<std::tuple<int, int, ValueKind>, Time> last;
    for (const Transfer& transfer : one.timeline.transfers) {
      const std::tuple lane{transfer.source, transfer.destination, transfer.value.kind};
      EXPECT_EQ(transfer.begin, written.at(transfer.value));
      EXPECT_EQ(transfer.end, transfer.begin + one.costs.p2p);
      EXPECT_LE(transfer.end, read.at({transfer.destination, transfer.value}));
      EXPECT_LE(last[lane], transfer.end);
      last[lane] = transfer.end;
    }
  }
}

}  // namespace
}  // namespace dualpipe
