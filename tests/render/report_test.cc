#include "render/report.h"

#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/pipeline.h"
#include "tests/render/timelines.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Two ranks that both work 6 of 9 ms; by hand.
Metrics small_metrics() {
  Metrics metrics{
      .step_time = ms(9), .longest_rank_time = ms(9), .bubble_ratio = 1.0 / 3.0, .ranks = {}};
  metrics.ranks.push_back({.begin = ms(0),
                           .end = ms(9),
                           .busy = ms(6),
                           .idle = ms(3),
                           .bubble_ratio = 1.0 / 3.0,
                           .peak_activations = 2});
  metrics.ranks.push_back({.begin = ms(1),
                           .end = ms(7),
                           .busy = ms(6),
                           .idle = ms(3),
                           .bubble_ratio = 1.0 / 3.0,
                           .peak_activations = 1});
  return metrics;
}

TEST(Report, ShowsEveryRankAndTheStep) {
  EXPECT_EQ(metrics_table(pipeline_of(linear_placement(2), 2), small_metrics()),
            "hand-made: 2 ranks, 2 stages, 2 microbatches\n"
            "\n"
            "rank  begin (ms)  end (ms)  busy (ms)  idle (ms)  bubble           peak activations\n"
            "----  ----------  --------  ---------  ---------  ------  -------  ----------------\n"
            "   0       0.000     9.000      6.000      3.000   33.3%  #######                 2\n"
            "   1       1.000     7.000      6.000      3.000   33.3%  #######                 1\n"
            "\n"
            "step time          9.000 ms\n"
            "longest rank time  9.000 ms\n"
            "bubble             33.3%\n");
}

TEST(Report, MemoryIsShownWhereItIsKnown) {
  const Pipeline pipeline = pipeline_of(linear_placement(2), 2);
  Metrics metrics = small_metrics();
  EXPECT_THAT(metrics_table(pipeline, metrics), Not(HasSubstr("peak memory")));
  metrics.ranks[1].peak_memory.activations = std::int64_t{3} * 512 * 1024 * 1024;
  EXPECT_THAT(metrics_table(pipeline, metrics), HasSubstr("peak memory"));
  EXPECT_THAT(metrics_table(pipeline, metrics), HasSubstr("2          0 B\n"));
  EXPECT_THAT(metrics_table(pipeline, metrics), HasSubstr("1     1.50 GiB\n"));
}

TEST(Report, TheFullestRanksMemoryIsToldByWhatItIsFor) {
  const Pipeline pipeline = pipeline_of(linear_placement(2), 2);
  Metrics metrics = small_metrics();
  constexpr std::int64_t gibibyte = std::int64_t{1} << 30;
  metrics.ranks[0].peak_memory = {.activations = 3 * gibibyte};
  EXPECT_THAT(metrics_table(pipeline, metrics), Not(HasSubstr("fullest rank")));
  metrics.ranks[1].peak_memory = {.weights = 2 * gibibyte, .activations = 2 * gibibyte};
  EXPECT_THAT(metrics_table(pipeline, metrics),
              HasSubstr("fullest rank       rank 1: 4.00 GiB = weights 2.00 GiB + activations 2.00 "
                        "GiB\n"));
}

TEST(Report, TheHeadlineCountsInWords) {
  Metrics metrics = small_metrics();
  EXPECT_THAT(metrics_table(pipeline_of(bidirectional_placement(2), 2), metrics),
              HasSubstr("2 ranks, 2 stages, 2 microbatches, 2 directions\n"));
  metrics.ranks.pop_back();
  EXPECT_THAT(metrics_table(pipeline_of(linear_placement(1), 1), metrics),
              HasSubstr("1 rank, 1 stage, 1 microbatch\n"));
}

// The figure of DualPipe's README: 66 units, 6 idle; S + 1 = 9 activations alive at most.
TEST(Report, TheDualPipeFigureHasThePublishedNumbers) {
  const Timeline timeline = simulated("dualpipe", {.ranks = 8, .microbatches = 20});
  const std::string table = metrics_table(timeline.pipeline, measure(timeline));
  EXPECT_THAT(table, HasSubstr("   0       0.000    66.000     60.000      6.000    9.1%  ##   "
                               "              9\n"));
  EXPECT_THAT(table, HasSubstr("step time          66.000 ms\n"));
  EXPECT_THAT(table, HasSubstr("bubble             9.1%\n"));
}

}  // namespace
}  // namespace dualpipe
