#include "trace/timeline.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/text.h"
#include "tests/support/refusal.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

Timeline small() {
  Timeline timeline = timeline_of(pipeline_on(linear_placement(2), 1),
                                  {"0F0@0-10 0B0@52-72", "1F0@11-21 1B0@21-41"});
  timeline.transfers = {{.value = {ValueKind::activation, 0, 0},
                         .source = 0,
                         .destination = 1,
                         .begin = Time(10),
                         .end = Time(11)},
                        {.value = {ValueKind::input_gradient, 1, 0},
                         .source = 1,
                         .destination = 0,
                         .begin = Time(41),
                         .end = Time(52)}};
  timeline.stage_bytes = {{.activation = 100, .weight_operands = 90}, {}};
  return timeline;
}

std::string refusal_of(const std::string& text) {
  return refusal(ExitCode::invalid_schedule, [&] { return parse_timeline(text, "t.json"); });
}

// The document of small() with one of its parts replaced.
std::string refusal_with(const std::string& from, const std::string& to) {
  std::string text = to_json(small());
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return refusal_of(text.replace(at, from.size(), to));
}

TEST(Makespan, IsFromTheFirstBeginToTheLastEndOfAnyRank) {
  EXPECT_EQ(makespan(small()), Time(72));
  EXPECT_EQ(makespan(timeline_of(pipeline_on(linear_placement(2), 1), {"0F0@5-6", "1F0@7-9"})),
            Time(4));
  EXPECT_EQ(makespan(timeline_of(pipeline_on(linear_placement(2), 1), {"", ""})), Time(0));
  EXPECT_EQ(makespan(timeline_of(pipeline_on(linear_placement(2), 1), {"", "1F0@7-9"})), Time(2));
}

TEST(ScheduleOf, IsTheOrderWithoutTheTimes) {
  EXPECT_EQ(to_csv(schedule_of(small())), "0F0,0B0\n1F0,1B0\n");
  EXPECT_EQ(schedule_of(small()).pipeline, small().pipeline);
}

TEST(TimelineJson, HasTheDocumentedKeys) {
  EXPECT_EQ(to_json(small()),
            "{\"schema_version\":1,\"kind\":\"timeline\",\"name\":\"hand-made\",\"stages\":2,"
            "\"microbatches\":1,\n\"placement\":[[0,1]],\n\"direction\":[0],\n"
            "\"stage_bytes\":[[100,90],[0,0]],\n\"ranks\":[\n"
            "[[\"0F0\",0,10],[\"0B0\",52,72]],\n[[\"1F0\",11,21],[\"1B0\",21,41]]],\n"
            "\"transfers\":[\n[\"activation\",0,0,0,1,10,11],\n[\"gradient\",1,0,1,0,41,52]]}\n");
}

TEST(TimelineJson, OfAMeasuredTimelineHasClocksAndTheBytesOfTransfers) {
  Timeline timeline = small();
  timeline.transfers[0].bytes = 4096;
  timeline.clocks = {{}, {.offset = Time(-7), .drift = Time(2), .uncertainty = Time(90)}};
  const std::string text = to_json(timeline);
  EXPECT_THAT(text, HasSubstr("[\"activation\",0,0,0,1,10,11,4096],"));
  EXPECT_THAT(text, HasSubstr("[\"gradient\",1,0,1,0,41,52]]"));
  EXPECT_THAT(text, HasSubstr(",\n\"clocks\":[[0,0,0],[-7,2,90]]}\n"));
  EXPECT_EQ(parse_timeline(text, "t.json"), timeline);
}

TEST(TimelineJson, RefusesClocksThatAreNotOnePerRankInNanoseconds) {
  EXPECT_THAT(refusal_with("]}\n", "],\"clocks\":[[0,0,0]]}\n"),
              AllOf(HasSubstr("clocks"), HasSubstr("expected one entry per rank, 2; found 1")));
  EXPECT_THAT(refusal_with("]}\n", "],\"clocks\":[[0,0,0],[0.5,0,0]]}\n"),
              HasSubstr("expected whole nanoseconds"));
  EXPECT_THAT(refusal_with("]}\n", "],\"clocks\":[[0,0,0],[0,0,-1]]}\n"),
              HasSubstr("expected whole nanoseconds"));
  EXPECT_THAT(refusal_with("]}\n", "],\"clocks\":[[0,0],[0,0,1]]}\n"),
              HasSubstr("expected lists of 3, found one of 2"));
}

TEST(TimelineJson, RoundTripsExactly) {
  EXPECT_EQ(parse_timeline(to_json(small()), "t.json"), small());
  Timeline bare = small();
  bare.transfers.clear();
  bare.stage_bytes.clear();
  bare.ranks[1].clear();
  EXPECT_EQ(parse_timeline(to_json(bare), "t.json"), bare);
}

// What only some timelines have is written only for those.
TEST(TimelineJson, RoundTripsParametersAndTheTail) {
  Timeline timeline = small();
  timeline.stage_bytes[1] = {.activation = 1,
                             .weight_operands = 2,
                             .logits = 3,
                             .boundary = 4,
                             .weights = 5,
                             .gradients = 6,
                             .optimizer = 7};
  timeline.tail = {
      {.kind = TailKind::optimizer, .rank = 0, .stage = 1, .begin = Time(80), .end = Time(90)}};
  const std::string text = to_json(timeline);
  EXPECT_THAT(text, HasSubstr("\"stage_bytes\":[[100,90],[1,2,3,4,5,6,7]],"));
  EXPECT_THAT(text, HasSubstr(",\n\"tail\":[\n[\"optimizer\",0,1,80,90]]}\n"));
  EXPECT_EQ(parse_timeline(text, "t.json"), timeline);
  EXPECT_EQ(makespan(timeline), Time(90));
}

TEST(TimelineJson, RefusesATailThatIsNone) {
  const auto refusal_with_tail = [](const std::string& tail) {
    return refusal_with("52]]}", "52]],\"tail\":" + tail + "}");
  };
  EXPECT_THAT(refusal_with_tail("[[\"optimiser\",0,1,80,90]]"),
              HasSubstr("key 'tail': expected one of replica_reduce"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",0,2,80,90]]"), HasSubstr("outside the document"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",2,0,80,90]]"), HasSubstr("outside the document"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",0,0,90,80]]"), HasSubstr("ends before it begins"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",0,0,80]]"), HasSubstr("expected lists of 5"));
  EXPECT_THAT(refusal_with_tail("7"), HasSubstr("key 'tail'"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",0,0,80,90],[\"optimizer\",0,1,85,95]]"),
              HasSubstr("before the rank has computed"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",0,0,71,90]]"),
              HasSubstr("before the rank has computed"));
  EXPECT_THAT(refusal_with_tail("[[\"optimizer\",1,0,80,90],[\"optimizer\",0,1,85,95]]"),
              HasSubstr("out of order"));
}

TEST(TimelineJson, RoundTripsEveryFamilysSimulation) {
  for (const Family* family : families()) {
    const Timeline timeline =
        simulated(family->name, {.ranks = 4, .microbatches = 8, .chunks = 2},
                  stage_costs({.forward = 7, .input = 5, .weight = 3, .overlapped = 11}), Time(2));
    EXPECT_EQ(parse_timeline(to_json(timeline), "t.json"), timeline) << family->name;
  }
}

TEST(IsTimeline, TellsTimelinesFromSchedules) {
  EXPECT_TRUE(is_timeline(to_json(small())));
  EXPECT_TRUE(is_timeline(" \n" + to_json(small())));
  EXPECT_TRUE(is_timeline("{\"stage_bytes\" : []}"));
  EXPECT_FALSE(is_timeline(to_json(schedule_of(small()))));
  EXPECT_FALSE(is_timeline(to_text(schedule_of(small()))));
  EXPECT_FALSE(is_timeline(""));
  EXPECT_FALSE(is_timeline("[\"stage_bytes\"]"));
}

TEST(IsTimeline, DoesNotMindWhatAScheduleIsCalled) {
  Schedule schedule = schedule_of(small());
  for (const char* name : {"stage_bytes", "\"stage_bytes\"", "\"stage_bytes\":", "timeline"}) {
    schedule.pipeline.name = name;
    EXPECT_FALSE(is_timeline(to_json(schedule))) << name;
    Timeline timeline = small();
    timeline.pipeline.name = name;
    EXPECT_TRUE(is_timeline(to_json(timeline))) << name;
  }
}

TEST(ParseTimeline, NamesOriginKeyAndWhatWasExpected) {
  EXPECT_THAT(refusal_with("\"timeline\"", "\"schedule\""),
              StartsWith("t.json: key 'kind': expected \"timeline\""));
  EXPECT_THAT(refusal_with("_version\":1", "_version\":9"),
              StartsWith("t.json: key 'schema_version': expected 1, found 9"));
  EXPECT_THAT(refusal_with("[\"0F0\",0,10]", "\"0F0\""),
              AllOf(StartsWith("t.json: key 'ranks': expected lists of 3"), HasSubstr("string")));
  EXPECT_THAT(refusal_with("[\"0F0\",0,10]", "[\"0F0\",0]"), HasSubstr("found one of 2"));
  EXPECT_THAT(refusal_with("[\"0F0\",0,10]", "[7,0,10]"),
              HasSubstr("expected spans such as [\"0F0\",0,1000]"));
  EXPECT_THAT(refusal_with("\"0F0\"", "\"0X0\""), HasSubstr("key 'ranks': '0X0' is not an op"));
  EXPECT_THAT(refusal_with("\"0F0\"", "\"2F0\""),
              HasSubstr("2F0 is outside the document's stages and microbatches"));
  EXPECT_THAT(refusal_with("\"0F0\"", "\"0F1\""), HasSubstr("0F1 is outside"));
  EXPECT_THAT(refusal_with(",0,10]", ",0,1.5]"),
              HasSubstr("expected whole nanoseconds or bytes from 0 to"));
  EXPECT_THAT(refusal_with(",0,10]", ",-1,10]"), HasSubstr("found -1"));
  EXPECT_THAT(refusal_with(",0,10]", ",0,9223372036854775807]"), HasSubstr("expected whole"));
  EXPECT_THAT(refusal_with("[[\"0F0\",0,10],[\"0B0\",52,72]]", "7"),
              HasSubstr("key 'ranks': expected a list of spans for each rank"));
  EXPECT_THAT(refusal_of("{"), StartsWith("t.json:1:2: not JSON"));
  EXPECT_THAT(refusal_of("[]"), StartsWith("t.json: key 'kind'"));
}

// Half of what an int64 holds, 2^62, for two ranks.
TEST(ParseTimeline, TakesTimesWhoseSumOverAllRanksFits) {
  constexpr std::int64_t largest = 2'305'843'009'213'693'951;  // 2^61 - 1 ns: 73 years
  const auto with_end = [](std::int64_t end) {
    Timeline timeline = small();
    for (std::vector<Span>& spans : timeline.ranks) {
      spans.back().end = Time(end);
    }
    return timeline;
  };
  const Timeline longest = parse_timeline(to_json(with_end(largest)), "t.json");
  EXPECT_EQ(longest, with_end(largest));
  Time sum{};
  for (const RankMetrics& rank : measure(longest).ranks) {
    sum += rank.busy + rank.idle;
  }
  EXPECT_EQ(sum, 2 * Time(largest));
  EXPECT_THAT(refusal_of(to_json(with_end(largest + 1))),
              HasSubstr("nanoseconds or bytes from 0 to 2305843009213693951, found "));
}

// Eight kinds of bytes, on each of two stages for a microbatch: together at most 2^62.
TEST(ParseTimeline, TakesBytesWhoseSumFits) {
  constexpr std::int64_t largest = 288'230'376'151'711'743;  // 2^58 - 1
  const auto with_bytes = [](std::int64_t bytes) {
    Timeline timeline = small();
    timeline.stage_bytes[0].activation = bytes;
    return timeline;
  };
  EXPECT_EQ(parse_timeline(to_json(with_bytes(largest)), "t.json"), with_bytes(largest));
  EXPECT_THAT(refusal_of(to_json(with_bytes(largest + 1))),
              HasSubstr("nanoseconds or bytes from 0 to 288230376151711743, found "));
}

TEST(ParseTimeline, RefusesSpansThatOverlapOrRunBackwards) {
  EXPECT_THAT(refusal_with("52,72", "9,72"),
              HasSubstr("rank 0: 0B0 overlaps what is before it, or ends before it begins"));
  EXPECT_THAT(refusal_with("52,72", "52,51"), HasSubstr("rank 0: 0B0"));
}

TEST(ParseTimeline, RefusesAPlacementThatDoesNotFit) {
  EXPECT_THAT(refusal_with("[[0,1]]", "[[0,2]]"),
              HasSubstr("key 'placement': expected ranks below 2"));
  EXPECT_THAT(refusal_with("\"direction\":[0]", "\"direction\":[1]"),
              HasSubstr("key 'direction': expected numbers below 1"));
  EXPECT_THAT(refusal_with("[[0,1]]", "[]"),
              HasSubstr("key 'placement': expected at least one direction, stage and rank"));
  EXPECT_THAT(refusal_with("[[0,1]]", "[[0,1],[1]]"),
              HasSubstr("key 'placement': expected one rank for each of 2 stages, found 1"));
}

TEST(ParseTimeline, RefusesADocumentWithoutStages) {
  for (const char* placement : {"[]", "[[]]", "[[],[]]"}) {
    EXPECT_THAT(
        refusal_of(std::string("{\"schema_version\":1,\"kind\":\"timeline\",\"name\":\"\","
                               "\"stages\":0,\"microbatches\":1,\"placement\":") +
                   placement +
                   ",\"direction\":[0],\"stage_bytes\":[],\"ranks\":[[]],\"transfers\":[]}"),
        HasSubstr("key 'placement': expected at least one direction, stage and rank"));
  }
}

TEST(ParseTimeline, RefusesBytesThatDoNotFitTheStages) {
  EXPECT_THAT(refusal_with("[[100,90],[0,0]]", "[[100,90]]"),
              HasSubstr("key 'stage_bytes': expected one entry per stage, or none"));
  EXPECT_THAT(refusal_with("[100,90]", "[100]"),
              HasSubstr("key 'stage_bytes': expected lists of 2, found one of 1"));
  EXPECT_THAT(refusal_with("[100,90]", "[100,-90]"), HasSubstr("key 'stage_bytes'"));
}

TEST(ParseTimeline, RefusesTransfersThatCannotBe) {
  const std::string first = "[\"activation\",0,0,0,1,10,11]";
  const auto with = [&](const std::string& transfer) { return refusal_with(first, transfer); };
  EXPECT_THAT(with("[\"weights\",0,0,0,1,10,11]"),
              HasSubstr("key 'transfers': expected \"activation\" or \"gradient\" first"));
  EXPECT_THAT(with("[\"activation\",0,0,0,1,10]"), HasSubstr("expected lists of 7"));
  EXPECT_THAT(with("[\"activation\",0,0,0,-1,10,11]"), HasSubstr("key 'transfers'"));
  EXPECT_THAT(with("[\"activation\",2,0,0,1,10,11]"), HasSubstr("key 'transfers'"));
  EXPECT_THAT(with("[\"activation\",0,1,0,1,10,11]"), HasSubstr("key 'transfers'"));
  EXPECT_THAT(with("[\"activation\",0,0,2,1,10,11]"), HasSubstr("key 'transfers'"));
  EXPECT_THAT(with("[\"activation\",0,0,0,2,10,11]"), HasSubstr("key 'transfers'"));
  EXPECT_THAT(with("[\"activation\",0,0,0,1,11,10]"), HasSubstr("key 'transfers'"));
}

}  // namespace
}  // namespace dualpipe
