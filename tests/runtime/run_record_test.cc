#include "runtime/run_record.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/clock.h"
#include "runtime/step_marks.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Clock = std::chrono::steady_clock;

Clock::time_point at(int nanoseconds) {
  return Clock::time_point(Time(nanoseconds));
}

Program one_microbatch() {
  return compile_or_throw(written("0F0 0B0\n1F0 1B0\n"));
}

std::int32_t message(const Program& program, ValueKind kind) {
  for (std::size_t index = 0; index < program.messages().size(); ++index) {
    if (program.messages()[index].value.kind == kind) {
      return static_cast<std::int32_t>(index);
    }
  }
  ADD_FAILURE() << "no such message";
  return 0;
}

// A step that began at `begin` by its rank's clock, with spans relative to that.
RankStep step_of(const Program& program, int begin, std::string_view spans) {
  RankStep step;
  step.begin = at(begin);
  step.spans = timeline_of(program.pipeline(), {spans}).ranks.front();
  return step;
}

// Both messages of one_microbatch(), sent and received when the spans of step_of() have it.
struct Ends {
  int sent = 0;
  int received = 0;
};
RankStep with_messages(RankStep step, const Program& program, int rank, const Ends& ends) {
  const std::int32_t down = message(program, ValueKind::activation);
  const std::int32_t up = message(program, ValueKind::input_gradient);
  step.sent = {{rank == 0 ? down : up, at(ends.sent)}};
  step.received = {{rank == 0 ? up : down, at(ends.received)}};
  return step;
}

// A clock that is `offset` from rank 0's, always.
ClockLine steady(int offset) {
  return {.begin = {.time = at(0), .offset = Time(offset), .uncertainty = Time(4)},
          .end = {.time = at(9000), .offset = Time(offset), .uncertainty = Time(3)}};
}

RunRecord record_of(const Program& program, int rank, const std::vector<RankStep>& steps) {
  RunRecord record(program, rank, static_cast<int>(steps.size()));
  for (const RankStep& step : steps) {
    record.add(step);
  }
  return record;
}

// Rank 1's clock is 1000 behind rank 0's; both ranks begin a little before their first slot.
TEST(RunRecord, MergesRanksOntoRankZerosClockFromTheFirstSlotOn) {
  const Program program = one_microbatch();
  const RunRecord zero = record_of(
      program, 0,
      {with_messages(step_of(program, 5000, "0F0@100-110 0B0@170-190"), program, 0, {5112, 5168})});
  const RunRecord one = record_of(
      program, 1,
      {with_messages(step_of(program, 4010, "1F0@110-120 1B0@120-140"), program, 1, {4152, 4119})});
  const std::vector<RankRecord> records{{.step = zero.whole(0), .clock = steady(0)},
                                        {.step = one.whole(0), .clock = steady(1000)}};
  const Timeline timeline = merge_records(program, records);
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-10 0B0@70-90");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@20-30 1B0@30-50");
  EXPECT_EQ(transfers_text(timeline),
            "activation 0 of 0, 0->1 @12-19; gradient 1 of 0, 1->0 @52-68");
  EXPECT_EQ(timeline.pipeline, program.pipeline());
  EXPECT_TRUE(timeline.stage_bytes.empty());
  const std::vector<RankClock> clocks{{.offset = Time(0), .drift = {}, .uncertainty = Time(4)},
                                      {.offset = Time(1000), .drift = {}, .uncertainty = Time(4)}};
  EXPECT_EQ(timeline.clocks, clocks);
}

// Rank 1's clock is slow: it loses 100 in 1000. What it calls 2000 is 2200 on rank 0's.
TEST(RunRecord, CorrectsForClocksThatDrift) {
  const Program program = one_microbatch();
  const RunRecord zero = record_of(
      program, 0,
      {with_messages(step_of(program, 2000, "0F0@0-10 0B0@700-720"), program, 0, {2010, 2690})});
  const RunRecord one = record_of(
      program, 1,
      {with_messages(step_of(program, 2000, "1F0@0-200 1B0@300-400"), program, 1, {2400, 2000})});
  const ClockLine slow{.begin = {.time = at(1000), .offset = Time(100), .uncertainty = Time(5)},
                       .end = {.time = at(3000), .offset = Time(300), .uncertainty = Time(7)}};
  const std::vector<RankRecord> records{{.step = zero.whole(0), .clock = steady(0)},
                                        {.step = one.whole(0), .clock = slow}};
  const Timeline timeline = merge_records(program, records);
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-10 0B0@700-720");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@200-420 1B0@530-640");
  EXPECT_EQ(timeline.clocks[1],
            (RankClock{.offset = Time(100), .drift = Time(200), .uncertainty = Time(7)}));
  const std::vector<RankExtents> ranks{
      {.steps = {zero.extents().begin(), zero.extents().end()}, .clock = steady(0)},
      {.steps = {one.extents().begin(), one.extents().end()}, .clock = slow}};
  EXPECT_THAT(step_times(program, ranks), ElementsAre(Time(720)));
}

TEST(RunRecord, ClocksThatAreApartMakeNoMessageArriveBeforeItWasSent) {
  const Program program = one_microbatch();
  const RunRecord zero = record_of(
      program, 0, {with_messages(step_of(program, 0, "0F0@0-10 0B0@70-90"), program, 0, {12, 60})});
  const RunRecord one = record_of(
      program, 1, {with_messages(step_of(program, 0, "1F0@15-20 1B0@20-40"), program, 1, {41, 7})});
  const std::vector<RankRecord> records{{.step = zero.whole(0), .clock = steady(0)},
                                        {.step = one.whole(0), .clock = steady(0)}};
  const Timeline timeline = merge_records(program, records);
  EXPECT_EQ(timeline.transfers.front().begin, Time(12));
  EXPECT_EQ(timeline.transfers.front().end, Time(12));
}

// Step k begins at 1000 k and takes 15 + k.
RankStep growing_step(const Program& program, int step) {
  const std::string spans = "0F0@5-7 0B0@7-" + std::to_string(20 + step);
  return step_of(program, 1000 * step, spans);
}

TEST(RunRecord, KeepsTheTimesOfAllStepsAndAllOfTheNewest) {
  const Program program = compile_or_throw(written("0F0 0B0\n"));
  constexpr int steps = 3 * RunRecord::whole_steps_max + 5;
  RunRecord record(program, 0, steps);
  for (int step = 0; step < steps; ++step) {
    record.add(growing_step(program, step));
    for (const int kept : {step - RunRecord::whole_steps_max + 1, step}) {
      if (kept >= 0) {
        const std::vector<RankRecord> records{
            {.step = record.whole(static_cast<std::size_t>(kept)), .clock = steady(-3)}};
        EXPECT_EQ(spans_text(merge_records(program, records), 0),
                  "0F0@0-2 0B0@2-" + std::to_string(15 + kept));
      }
    }
  }
  const std::vector<RankExtents> ranks{
      {.steps = {record.extents().begin(), record.extents().end()}, .clock = steady(-3)}};
  const std::vector<Time> times = step_times(program, ranks);
  ASSERT_EQ(times.size(), static_cast<std::size_t>(steps));
  for (int step = 0; step < steps; ++step) {
    EXPECT_EQ(times[static_cast<std::size_t>(step)], Time(15 + step));
  }
}

TEST(RunRecord, TheTypicalStepHasTheMedianTimeOfThoseThatAreKept) {
  const std::vector<Time> few{Time(90), Time(3), Time(5), Time(4)};
  EXPECT_EQ(typical_step(few), 3U) << "without the first, which warms up";
  EXPECT_EQ(typical_step(std::vector<Time>{Time(90)}), 0U);
  // The first hundred are as slow as can be, but gone.
  std::vector<Time> many(100, Time(1000));
  for (int step = 0; step < RunRecord::whole_steps_max; ++step) {
    many.push_back(Time(step));
  }
  EXPECT_EQ(typical_step(many), 100U + RunRecord::whole_steps_max / 2);
}

TEST(RunRecord, OfAnotherProgramIsRefusedNamingTheRank) {
  const Program program = one_microbatch();
  const RunRecord zero = record_of(
      program, 0, {with_messages(step_of(program, 0, "0F0@0-10 0B0@70-90"), program, 0, {12, 60})});
  const RunRecord one =
      record_of(program, 1,
                {with_messages(step_of(program, 0, "1F0@15-20 1B0@20-40"), program, 0, {41, 42})});
  const auto refused = [&](std::span<const std::byte> second) {
    const std::vector<RankRecord> records{{.step = zero.whole(0), .clock = steady(0)},
                                          {.step = second, .clock = steady(0)}};
    return refusal(ExitCode::transport,
                   [&] { return merge_records(program, records).transfers.size(); });
  };
  EXPECT_THAT(refused({}), HasSubstr("rank 1 sent 0 bytes of its record of a step"));
  EXPECT_THAT(refused(one.whole(0).first(8)), HasSubstr("rank 1 sent 8 bytes"));
  EXPECT_THAT(refused(one.whole(0)), HasSubstr("rank 1 sent a record of a step with message 0"))
      << "what rank 0 sends, it cannot have sent";
}

TEST(RunRecordDeathTest, AStepOfAnotherProgramIsABug) {
  const Program program = one_microbatch();
  RunRecord record(program, 0, 1);
  EXPECT_DEATH(record.add(step_of(program, 0, "0F0@0-10 0B0@70-90")), "CHECK") << "no messages";
}

}  // namespace
}  // namespace dualpipe
