#include "runtime/run_record.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "runtime/clock.h"
#include "runtime/step_marks.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "tests/support/schedules.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

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

// With a clock that is `offset` from rank 0's, always.
RankRecord with_offset(const RunRecord& record, int offset) {
  return {.bytes = {record.bytes().begin(), record.bytes().end()},
          .clock = {.begin = {.time = at(0), .offset = Time(offset), .uncertainty = Time(4)},
                    .end = {.time = at(9000), .offset = Time(offset), .uncertainty = Time(3)}}};
}

// Rank 1's clock is 1000 behind rank 0's; both ranks begin a little before their first slot.
TEST(RunRecord, MergesRanksOntoRankZerosClockFromTheFirstSlotOn) {
  const Program program = one_microbatch();
  const std::int32_t down = message(program, ValueKind::activation);
  const std::int32_t up = message(program, ValueKind::input_gradient);
  RankStep first = step_of(program, 5000, "0F0@100-110 0B0@170-190");
  first.sent = {{down, at(5112)}};
  first.received = {{up, at(5168)}};
  RankStep second = step_of(program, 4010, "1F0@110-120 1B0@120-140");
  second.sent = {{up, at(4152)}};
  second.received = {{down, at(4119)}};
  RunRecord zero;
  zero.add(first);
  RunRecord one;
  one.add(second);
  const std::vector<RankRecord> records{with_offset(zero, 0), with_offset(one, 1000)};
  const std::vector<Timeline> timelines = merge_records(program, records, 1);
  ASSERT_EQ(timelines.size(), 1U);
  EXPECT_EQ(spans_text(timelines[0], 0), "0F0@0-10 0B0@70-90");
  EXPECT_EQ(spans_text(timelines[0], 1), "1F0@20-30 1B0@30-50");
  EXPECT_EQ(transfers_text(timelines[0]),
            "activation 0 of 0, 0->1 @12-19; gradient 1 of 0, 1->0 @52-68");
  EXPECT_EQ(timelines[0].pipeline, program.pipeline());
  EXPECT_TRUE(timelines[0].stage_bytes.empty());
  const std::vector<RankClock> clocks{{.offset = Time(0), .drift = {}, .uncertainty = Time(4)},
                                      {.offset = Time(1000), .drift = {}, .uncertainty = Time(4)}};
  EXPECT_EQ(timelines[0].clocks, clocks);
}

// Rank 1's clock is slow: it loses 100 in 1000. What it calls 2000 is 2200 on rank 0's.
TEST(RunRecord, CorrectsForClocksThatDrift) {
  const Program program = one_microbatch();
  RunRecord zero;
  zero.add(step_of(program, 2000, "0F0@0-10 0B0@700-720"));
  RunRecord one;
  one.add(step_of(program, 2000, "1F0@0-200 1B0@300-400"));
  RankRecord slow = with_offset(one, 0);
  slow.clock = {.begin = {.time = at(1000), .offset = Time(100), .uncertainty = Time(5)},
                .end = {.time = at(3000), .offset = Time(300), .uncertainty = Time(7)}};
  const std::vector<RankRecord> records{with_offset(zero, 0), slow};
  const Timeline timeline = merge_records(program, records, 1).front();
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-10 0B0@700-720");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@200-420 1B0@530-640");
  EXPECT_EQ(timeline.clocks[1],
            (RankClock{.offset = Time(100), .drift = Time(200), .uncertainty = Time(7)}));
}

TEST(RunRecord, ClocksThatAreApartMakeNoMessageArriveBeforeItWasSent) {
  const Program program = one_microbatch();
  const std::int32_t down = message(program, ValueKind::activation);
  RankStep first = step_of(program, 0, "0F0@0-10 0B0@70-90");
  first.sent = {{down, at(12)}};
  RankStep second = step_of(program, 0, "1F0@15-20 1B0@20-40");
  second.received = {{down, at(7)}};
  RunRecord zero;
  zero.add(first);
  RunRecord one;
  one.add(second);
  const std::vector<RankRecord> records{with_offset(zero, 0), with_offset(one, 0)};
  const Timeline timeline = merge_records(program, records, 1).front();
  EXPECT_EQ(timeline.transfers.front().begin, Time(12));
  EXPECT_EQ(timeline.transfers.front().end, Time(12));
}

TEST(RunRecord, EveryStepStartsAnewAtZero) {
  const Program program = compile_or_throw(written("0F0 0B0\n"));
  RunRecord record;
  for (int step = 0; step < 3; ++step) {
    record.add(step_of(program, 1000 * step, "0F0@5-7 0B0@7-20"));
  }
  const std::vector<RankRecord> records{with_offset(record, -3)};
  const std::vector<Timeline> timelines = merge_records(program, records, 3);
  ASSERT_EQ(timelines.size(), 3U);
  for (const Timeline& timeline : timelines) {
    EXPECT_EQ(spans_text(timeline, 0), "0F0@0-2 0B0@2-15");
  }
}

TEST(RunRecordDeathTest, ARecordThatIsTooShortIsABug) {
  const Program program = one_microbatch();
  const std::vector<RankRecord> records(2);
  EXPECT_DEATH(static_cast<void>(merge_records(program, records, 1)), "CHECK");
}

}  // namespace
}  // namespace dualpipe
