#include "trace/links.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Journey {
  int microbatch = 0;
  int begin = 0;
  int end = 0;
  std::int64_t bytes = 64;
};

Transfer activation(const Journey& journey, int source = 0) {
  return {.value = {ValueKind::activation, source, journey.microbatch},
          .source = source,
          .destination = source + 1,
          .begin = Time(journey.begin),
          .end = Time(journey.end),
          .bytes = journey.bytes};
}

// Two ranks, of which the second does nothing but wait for the next forward and run it in 1 ns.
Timeline awaited(const std::vector<Journey>& journeys) {
  Timeline timeline =
      timeline_of(pipeline_on(linear_placement(2), static_cast<int>(journeys.size())), {"", ""});
  for (const Journey& journey : journeys) {
    timeline.transfers.push_back(activation(journey));
    timeline.ranks[1].push_back(
        {.slot = Op{.stage = 1, .kind = OpKind::forward, .microbatch = journey.microbatch},
         .begin = Time(journey.end),
         .end = Time(journey.end + 1)});
  }
  return timeline;
}

// The receiver was busy until 20 and until 40: only the first message was awaited. What the others
// took longer than it, 25 and 14 against 5, is their receiver's doing.
TEST(Links, CountOnlyWhatFoundItsReceiverWaiting) {
  Timeline timeline =
      timeline_of(pipeline_on(linear_placement(2), 3),
                  {"0F0@0-10 0F1@10-11 0F2@11-26", "1F0@15-36 1F1@36-40 1F2@40-50"});
  timeline.transfers = {activation({0, 10, 15}), activation({1, 11, 36}), activation({2, 26, 40})};
  const LinkFits fits = fit_links(timeline);
  ASSERT_EQ(fits.links.size(), 1U);
  EXPECT_EQ(fits.links[0].source, 0);
  EXPECT_EQ(fits.links[0].destination, 1);
  EXPECT_EQ(fits.links[0].messages, 3);
  EXPECT_EQ(fits.links[0].travel.count, 1);
  EXPECT_DOUBLE_EQ(fits.links[0].time(), 5.0);
  EXPECT_DOUBLE_EQ(fits.links[0].waited, (25.0 + 14.0) / 2.0 - 5.0);
}

// However late a sender is, the time begins with its send.
TEST(Links, DoNotCountASenderThatIsLate) {
  EXPECT_DOUBLE_EQ(fit_links(awaited({{0, 5'000, 5'007}})).all.time(), 7.0);
}

// Both ops of a pair read a message. The one that is noticed last had come long before, but the
// rank waited for the other one first.
TEST(Links, OfAPairsTwoMessagesTheSecondCountsOnlyWhereItWasSentAfterTheFirstHadCome) {
  const auto fitted = [](Time second_sent) {
    Timeline timeline = timeline_of(pipeline_on(linear_placement(3), 2),
                                    {"", "1F0@0-10 (1F1;1B0)OVERLAP_F_B@90-99", ""});
    timeline.transfers = {activation({1, 50, 80}),
                          {.value = {ValueKind::input_gradient, 2, 0},
                           .source = 2,
                           .destination = 1,
                           .begin = second_sent,
                           .end = Time(90),
                           .bytes = 64}};
    return fit_links(timeline);
  };
  EXPECT_EQ(fitted(Time(12)).all.travel.count, 1);
  EXPECT_DOUBLE_EQ(fitted(Time(12)).all.time(), 30.0);
  EXPECT_EQ(fitted(Time(84)).all.travel.count, 2);
}

TEST(Links, OfOneSizeAreAllLatencyTheMedian) {
  const LinkFit fit = fit_links(awaited({{0, 100, 103}, {1, 200, 205}, {2, 300, 390}})).all;
  EXPECT_FALSE(fit.has_sizes);
  EXPECT_DOUBLE_EQ(fit.latency, 5.0);
  EXPECT_DOUBLE_EQ(fit.per_byte, 0.0);
  EXPECT_DOUBLE_EQ(fit.time(), 5.0);
}

// 20 ns and 2 bytes a nanosecond; some messages waited for a processor, a hundred times as long.
TEST(Links, OfSeveralSizesSplitIntoLatencyAndBandwidth) {
  std::vector<Journey> journeys;
  int now = 10;
  for (int microbatch = 0; microbatch < 30; ++microbatch) {
    const int bytes = 100 * (1 + microbatch % 3);
    const int disturbed = microbatch >= 18 ? 10'000 + 100 * (microbatch * 7 % 24) : 0;
    journeys.push_back({microbatch, now, now + 20 + bytes / 2 + disturbed, bytes});
    now = journeys.back().end + 5;
  }
  const LinkFit fit = fit_links(awaited(journeys)).all;
  EXPECT_TRUE(fit.has_sizes);
  EXPECT_NEAR(fit.latency, 20.0, 1e-9);
  EXPECT_NEAR(fit.per_byte, 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(fit.bytes, 200.0);
  EXPECT_NEAR(fit.time(), 120.0, 1e-9);
}

// Large messages that are faster than small ones tell of no bandwidth; and a latency below zero of
// no latency: 100 bytes in 10 ns and 300 in 70 are through zero (100 * 10 + 300 * 70) / 100000
// each.
TEST(Links, HaveNeitherNegativeLatencyNorBandwidth) {
  const LinkFit flat = fit_links(awaited({{0, 10, 40, 100}, {1, 100, 120, 300}})).all;
  EXPECT_DOUBLE_EQ(flat.per_byte, 0.0);
  EXPECT_DOUBLE_EQ(flat.latency, 25.0);
  const LinkFit steep = fit_links(awaited({{0, 10, 20, 100}, {1, 100, 170, 300}})).all;
  EXPECT_DOUBLE_EQ(steep.latency, 0.0);
  EXPECT_DOUBLE_EQ(steep.per_byte, 0.22);
}

TEST(Links, AreKeptApart) {
  Timeline timeline =
      timeline_of(pipeline_on(linear_placement(3), 1), {"0F0@0-10", "1F0@13-20", "2F0@29-30"});
  timeline.transfers = {activation({0, 10, 13}, 0), activation({0, 20, 29}, 1)};
  const LinkFits fits = fit_links(timeline);
  ASSERT_EQ(fits.links.size(), 2U);
  EXPECT_EQ(fits.links[1].source, 1);
  EXPECT_DOUBLE_EQ(fits.links[0].time(), 3.0);
  EXPECT_DOUBLE_EQ(fits.links[1].time(), 9.0);
  EXPECT_EQ(fits.all.messages, 2);
  EXPECT_DOUBLE_EQ(fits.all.time(), 6.0);
}

TEST(Links, OfATimelineWithoutTransfersAreNone) {
  const LinkFits fits = fit_links(timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-1"}));
  EXPECT_TRUE(fits.links.empty());
  EXPECT_EQ(fits.all.messages, 0);
  EXPECT_EQ(fits.all.time(), 0.0);
  EXPECT_EQ(fits.log_deviation, 0.0);
}

// With two values the deciles of their logarithms are a tenth of the way inside.
TEST(Links, VaryByTheSpreadOfTheirLogarithms) {
  const LinkFits fits = fit_links(awaited({{0, 10, 110}, {1, 200, 400}}));
  EXPECT_NEAR(fits.log_deviation, 0.8 * std::log(2.0) / (2 * 1.2815515655446004), 1e-12);
}

}  // namespace
}  // namespace dualpipe
