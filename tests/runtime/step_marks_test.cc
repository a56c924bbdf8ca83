#include "runtime/step_marks.h"

#include <chrono>
#include <cstddef>
#include <set>

#include <gtest/gtest.h>

#include "runtime/cpu_device.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

Program example() {
  return compile_or_throw(generate(find_family("1f1b"), {.ranks = 3, .microbatches = 4}), eager);
}

// Rank 1 of three: of each of four microbatches two messages come and two go.
TEST(StepMarks, EverySlotAndEveryMessageOfTheRankHasItsOwn) {
  const Program program = example();
  CpuDevice device;
  const StepMarks marks(program, 1, device);
  EXPECT_EQ(marks.messages(), 16U);
  std::set<std::size_t> numbers{marks.last()};
  for (std::size_t slot = 0; slot < program.slots(1).size(); ++slot) {
    EXPECT_TRUE(numbers.insert(marks.slot_begin(slot)).second);
    EXPECT_TRUE(numbers.insert(marks.slot_end(slot)).second);
  }
  for (const Instruction& instruction : program.instructions(1)) {
    if (instruction.kind == Instruction::Kind::send ||
        instruction.kind == Instruction::Kind::await_received) {
      EXPECT_TRUE(numbers.insert(marks.message(instruction.index)).second);
    }
  }
  EXPECT_EQ(numbers.size(), 2 * program.slots(1).size() + 16 + 1);
  EXPECT_EQ(*numbers.rbegin() + 1, numbers.size());
}

TEST(StepMarks, TheirTimesBecomeTheStep) {
  const Program program = example();
  CpuDevice device;
  const StepMarks marks(program, 1, device);
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t mark = 0; mark <= marks.last(); ++mark) {
    device.mark(mark);
  }
  RankStep step;
  for (int again = 0; again < 2; ++again) {  // the second replaces the first
    marks.read(begin, step);
    ASSERT_EQ(step.spans.size(), program.slots(1).size());
    EXPECT_EQ(step.sent.size(), 8U);
    EXPECT_EQ(step.received.size(), 8U);
  }
  EXPECT_EQ(step.begin, begin);
  EXPECT_EQ(begin + step.spans[2].begin, device.time_of(marks.slot_begin(2)));
  EXPECT_EQ(begin + step.spans[2].end, device.time_of(marks.slot_end(2)));
  EXPECT_EQ(step.spans[2].slot, program.slots(1)[2]);
  EXPECT_EQ(step.received[3].time, device.time_of(marks.message(step.received[3].message)));
}

}  // namespace
}  // namespace dualpipe
