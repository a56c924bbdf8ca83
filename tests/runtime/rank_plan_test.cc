#include "runtime/rank_plan.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::SizeIs;

const Place nowhere{};

// Follows a plan through its rank's slots and checks it against what the ops mean.
class PlanCheck {
 public:
  PlanCheck(const Program& program, int rank)
      : program_(program),
        pipeline_(program.pipeline()),
        rank_(rank),
        plan_(plan_rank(program, rank)) {}

  void run() {
    ASSERT_EQ(plan_.slots.size(), program_.slots(rank_).size());
    for (std::size_t slot = 0; slot < plan_.slots.size(); ++slot) {
      std::size_t which = 0;
      for (const Op& op : program_.slots(rank_)[slot]) {
        begin(op, plan_.slots[slot].at(which++));
      }
      for (const Op& op : program_.slots(rank_)[slot]) {
        end(op);
      }
    }
    for (std::size_t held = 0; held < plan_.stages.size(); ++held) {
      const int index = static_cast<int>(held);
      EXPECT_EQ(plan_.stages[held].activation_slots, peak_[index]) << "held " << held;
      EXPECT_EQ(plan_.stages[held].weight_order, weights_[index]) << "held " << held;
    }
    EXPECT_THAT(alive_, IsEmpty());
    EXPECT_THAT(handed_, IsEmpty());
    std::map<std::pair<int, ValueKind>, int> buffers;
    for (const RankPlan::LocalBuffer& buffer : plan_.local_buffers) {
      ++buffers[{buffer.writer, buffer.kind}];
    }
    EXPECT_EQ(buffers, handed_peak_);
  }

 private:
  using Key = std::pair<int, int>;  // stage, microbatch

  void begin(const Op& op, const OpPlan& plan) {
    const RankPlan::HeldStage& held = plan_.stages.at(static_cast<std::size_t>(plan.held));
    EXPECT_EQ(held.stage, op.stage);
    EXPECT_EQ(held.direction, pipeline_.direction[static_cast<std::size_t>(op.microbatch)]);
    EXPECT_LT(plan.activation_slot, held.activation_slots);
    if (op.kind == OpKind::forward) {
      EXPECT_TRUE(taken_[plan.held].insert(plan.activation_slot).second) << to_string(op);
      alive_[{op.stage, op.microbatch}] = plan;
      peak_[plan.held] = std::max(peak_[plan.held], static_cast<int>(taken_[plan.held].size()));
    } else {
      EXPECT_EQ(plan.activation_slot, alive_.at({op.stage, op.microbatch}).activation_slot);
    }
    if (op.kind == OpKind::backward || op.kind == OpKind::backward_weight) {
      weights_[plan.held].push_back(op.microbatch);
    }
    check_input(op, plan);
    check_output(op, plan);
  }

  void check_input(const Op& op, const OpPlan& plan) {
    Place expected = nowhere;
    for (const Value& value : reads(op, pipeline_.stages())) {
      if (value.stage != op.stage) {
        const bool is_local = pipeline_.rank_of(value.stage, value.microbatch) == rank_;
        expected = is_local ? handed_.at(value) : message_with(value);
      }
    }
    EXPECT_EQ(plan.input, expected) << to_string(op);
  }

  void check_output(const Op& op, const OpPlan& plan) {
    if (op.kind == OpKind::backward_weight) {
      EXPECT_EQ(plan.output, nowhere);
      return;
    }
    const Value value = *writes(op).begin();
    const int reader = receiving_stage(value, pipeline_.stages());
    if (reader < 0) {
      EXPECT_EQ(plan.output, nowhere) << to_string(op);
    } else if (pipeline_.rank_of(reader, op.microbatch) != rank_) {
      EXPECT_EQ(plan.output, message_with(value)) << to_string(op);
    } else {
      EXPECT_EQ(plan.output.kind, Place::Kind::local) << to_string(op);
      for (const auto& [other, place] : handed_) {
        EXPECT_NE(place, plan.output) << to_string(op) << " overwrites " << to_string(other);
      }
      handed_[value] = plan.output;
      const RankPlan::LocalBuffer& buffer =
          plan_.local_buffers.at(static_cast<std::size_t>(plan.output.index));
      EXPECT_EQ(buffer.writer, plan.held);
      EXPECT_EQ(buffer.kind, value.kind);
      int& most = handed_peak_[{plan.held, value.kind}];
      most = std::max(most, handed_by(plan.held, value.kind));
    }
  }

  [[nodiscard]] int handed_by(int held, ValueKind kind) const {
    return static_cast<int>(std::count_if(handed_.begin(), handed_.end(), [&](const auto& one) {
      const RankPlan::HeldStage& stage = plan_.stages[static_cast<std::size_t>(held)];
      return one.first.kind == kind && one.first.stage == stage.stage &&
             pipeline_.direction[static_cast<std::size_t>(one.first.microbatch)] == stage.direction;
    }));
  }

  void end(const Op& op) {
    if (op.kind == OpKind::backward || op.kind == OpKind::backward_weight) {
      const auto found = alive_.find({op.stage, op.microbatch});
      taken_[found->second.held].erase(found->second.activation_slot);
      alive_.erase(found);
    }
    for (const Value& value : reads(op, pipeline_.stages())) {
      if (value.stage != op.stage) {
        handed_.erase(value);
      }
    }
  }

  [[nodiscard]] Place message_with(const Value& value) const {
    for (std::size_t index = 0; index < program_.messages().size(); ++index) {
      if (program_.messages()[index].value == value) {
        return {.kind = Place::Kind::message, .index = static_cast<std::int32_t>(index)};
      }
    }
    return nowhere;
  }

  const Program& program_;
  const Pipeline& pipeline_;
  int rank_;
  RankPlan plan_;
  std::map<Key, OpPlan> alive_;
  std::map<int, std::set<int>> taken_;  // [held]: activation slots
  std::map<int, int> peak_;
  std::map<int, std::vector<int>> weights_;
  std::map<Value, Place> handed_;  // local values alive
  std::map<std::pair<int, ValueKind>, int> handed_peak_;
};

void check_all_ranks(const Program& program) {
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank) + "\n" + to_text(program.schedule()));
    PlanCheck(program, rank).run();
  }
}

TEST(RankPlan, FitsEveryFamily) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 10, .chunks = 3})) {
      check_all_ranks(compile_or_throw(quickly_generated(*family, shape), eager));
    }
  }
}

TEST(RankPlan, FitsRandomSchedules) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    check_all_ranks(
        compile_or_throw(random_schedule(random, {}), {.receives_ahead = 30, .send_slots = 30}));
  }
}

// Counted from the instructions as they are, waits for sends included.
std::size_t counted_under_way_max(const Program& program, int rank) {
  std::size_t under_way = 0;
  std::size_t most = 0;
  for (const Instruction& instruction : program.instructions(rank)) {
    switch (instruction.kind) {
      case Instruction::Kind::receive:
      case Instruction::Kind::send:
        most = std::max(most, ++under_way);
        break;
      case Instruction::Kind::await_received:
      case Instruction::Kind::await_sent:
        --under_way;
        break;
      case Instruction::Kind::run:
      case Instruction::Kind::end_group:
        break;
    }
  }
  EXPECT_EQ(under_way, 0U) << "everything is waited for in the end";
  return most;
}

TEST(UnderWayMax, IsThatOfTheProgramCompiledForSoManySendSlots) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {});
    const Program one_slot = compile_or_throw(schedule, {.receives_ahead = 30, .send_slots = 30});
    for (const int send_slots : {1, 2, 5, 30}) {
      const Program program = compile_or_throw(
          schedule, {.receives_ahead = 30, .send_slots = send_slots, .buffering = 30});
      for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
        EXPECT_EQ(under_way_max(one_slot, rank, send_slots), counted_under_way_max(program, rank))
            << "rank " << rank << ", " << send_slots << " send slots\n"
            << to_text(schedule);
      }
    }
  }
}

// The turn of a V stays on its rank: one buffer down, one up, no message.
TEST(RankPlan, HandsOverLocallyAtTheTurn) {
  const Program program = compile_or_throw(written("0F0 3F0 3B0 0B0\n1F0 2F0 2B0 1B0\n"));
  const RankPlan plan = plan_rank(program, 1);
  EXPECT_THAT(plan.stages, ElementsAre(Field(&RankPlan::HeldStage::stage, 1),
                                       Field(&RankPlan::HeldStage::stage, 2)));
  ASSERT_THAT(plan.local_buffers, SizeIs(2));
  EXPECT_EQ(plan.local_buffers[0].kind, ValueKind::activation);
  EXPECT_EQ(plan.local_buffers[0].writer, 0);
  EXPECT_EQ(plan.local_buffers[1].kind, ValueKind::input_gradient);
  EXPECT_EQ(plan.local_buffers[1].writer, 1);
  EXPECT_EQ(plan.slots[0][0].output, plan.slots[1][0].input);
  EXPECT_EQ(plan.slots[2][0].output, plan.slots[3][0].input);
}

TEST(RankPlan, GivesTheFirstFreeSlotAndNoMoreThanThePeak) {
  const Program program = compile_or_throw(written("0F0 0F1 0B0 0F2 0B1 0B2\n"));
  const RankPlan plan = plan_rank(program, 0);
  EXPECT_EQ(plan.stages.front().activation_slots, 2);
  std::vector<int> slots;
  for (const std::array<OpPlan, 2>& ops : plan.slots) {
    slots.push_back(ops[0].activation_slot);
  }
  EXPECT_THAT(slots, ElementsAre(0, 1, 0, 0, 1, 0));
}

TEST(RankPlan, GivesTheLowestOfSeveralFreeSlots) {
  const Program program = compile_or_throw(written("0F0 0F1 0F2 0B2 0B0 0B1 0F3 0F4 0B3 0B4\n"));
  const RankPlan plan = plan_rank(program, 0);
  EXPECT_EQ(plan.slots[6][0].activation_slot, 0);
  EXPECT_EQ(plan.slots[7][0].activation_slot, 1);
}

TEST(RankPlan, HoldsAStageOncePerDirection) {
  const Program program =
      compile_or_throw(generate(find_family("dualpipe"), {.ranks = 2, .microbatches = 4}));
  const RankPlan plan = plan_rank(program, 0);
  ASSERT_THAT(plan.stages, SizeIs(2));
  EXPECT_EQ(plan.stages[0].stage, 0);
  EXPECT_EQ(plan.stages[0].direction, 0);
  EXPECT_THAT(plan.stages[0].weight_order, ElementsAre(0, 1));
  EXPECT_EQ(plan.stages[1].stage, 1);
  EXPECT_EQ(plan.stages[1].direction, 1);
  EXPECT_THAT(plan.stages[1].weight_order, ElementsAre(2, 3));
}

}  // namespace
}  // namespace dualpipe
