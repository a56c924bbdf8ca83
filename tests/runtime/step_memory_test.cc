// What a step uses of its rank's memory, seen from inside its stages: as many activation slots and
// as many bytes of buffers as were planned, no fewer and no more.

#include "runtime/step_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "runtime/executor.h"
#include "runtime/held_stage.h"
#include "runtime/message_buffer.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "runtime/step_marks.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// What the stages of a rank have been handed.
struct Seen {
  std::map<const std::byte*, std::size_t> buffers;  // the largest use of each: channels of several
                                                    // boundaries have messages of several sizes
  std::vector<std::set<int>> activation_slots;      // [stage object], in the order they were made

  void add(std::span<const std::byte> buffer) {
    if (!buffer.empty()) {
      std::size_t& size = buffers[buffer.data()];
      size = std::max(size, buffer.size());
    }
  }
};

// Its boundaries grow from stage to stage, and none is a multiple of a cache line.
class WatchingStage final : public Stage {
 public:
  static constexpr std::int64_t bytes_per_slot = 1009;

  WatchingStage(int stage, int stages, Seen& seen) : stage_(stage), stages_(stages), seen_(seen) {
    object_ = seen.activation_slots.size();
    seen.activation_slots.emplace_back();
  }

  [[nodiscard]] std::size_t input_bytes() const override { return boundary(stage_); }
  [[nodiscard]] std::size_t output_bytes() const override { return boundary(stage_ + 1); }
  [[nodiscard]] std::size_t parameter_count() const override { return 0; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return bytes_per_slot; }
  void allocate(int /*activation_slots*/) override {}
  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    seen_.activation_slots[object_].insert(op.slot);
    seen_.add(input);
    seen_.add(output);
  }
  [[nodiscard]] double loss(int /*microbatch*/) const override { return 0.0; }
  void backward_input(const StageOp& /*op*/, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    seen_.add(output_gradient);
    seen_.add(input_gradient);
  }
  void backward_weight(const StageOp& /*op*/, std::span<float> /*gradient*/) override {}
  void apply_gradient(std::span<const float> /*gradient*/) override {}

 private:
  [[nodiscard]] std::size_t boundary(int above) const {
    return above == 0 || above == stages_ ? 0 : 40 + 100 * static_cast<std::size_t>(above);
  }

  int stage_;
  int stages_;
  Seen& seen_;
  std::size_t object_ = 0;
};

// Of all microbatches of one stage and direction on a rank: how many were alive at once, from the
// begin of the forward to the end of the backward, or of its weight half.
int peak_alive(const std::vector<Span>& spans, const Pipeline& pipeline,
               const RankPlan::HeldStage& held) {
  std::multimap<Time, int> changes;  // those at one time: an end comes before a begin
  for (const Span& span : spans) {
    for (const Op& op : span.slot) {
      const int direction = pipeline.direction[static_cast<std::size_t>(op.microbatch)];
      if (op.stage != held.stage || direction != held.direction) {
        continue;
      }
      if (op.kind == OpKind::forward) {
        changes.emplace(span.begin, 1);
      } else if (op.kind != OpKind::backward_input) {
        changes.emplace_hint(changes.lower_bound(span.end), span.end, -1);
      }
    }
  }
  int alive = 0;
  int peak = 0;
  for (const auto& [time, change] : changes) {
    alive += change;
    peak = std::max(peak, alive);
  }
  return peak;
}

// Payloads begin at multiples of 256 with room for the next one's header behind each; and then
// there are the two messages that replicas would exchange, which are empty here.
std::size_t bytes_of(const Seen& seen) {
  std::size_t bytes = 2 * std::size_t{256};
  for (const auto& [begin, size] : seen.buffers) {
    bytes += (size + MessageBuffer::header_bytes + 255) / 256 * 256;
  }
  return bytes;
}

class StepMemoryOf : public testing::TestWithParam<std::string_view> {};

TEST_P(StepMemoryOf, IsWhatWasPlanned) {
  const Program program = compile_or_throw(
      generate(find_family(GetParam()), {.ranks = 4, .microbatches = 16, .chunks = 2}));
  const Pipeline& pipeline = program.pipeline();
  expect_success_on_all_ranks(pipeline.ranks(), [&](Transport& transport) {
    Seen seen;
    Executor executor(
        program, transport,
        [&](int stage) { return std::make_unique<WatchingStage>(stage, pipeline.stages(), seen); },
        {});
    const RankStep& step = executor.run(0);
    EXPECT_EQ(bytes_of(seen), executor.message_bytes()) << "rank " << transport.rank();

    const RankPlan plan = plan_rank(program, transport.rank());
    ASSERT_EQ(seen.activation_slots.size(), plan.stages.size());
    std::int64_t slots = 0;
    for (std::size_t held = 0; held < plan.stages.size(); ++held) {
      const RankPlan::HeldStage& stage = plan.stages[held];
      const int planned = stage.activation_slots;
      EXPECT_EQ(static_cast<int>(seen.activation_slots[held].size()), planned);
      slots += planned;
      EXPECT_EQ(peak_alive(step.spans, pipeline, stage), planned)
          << "rank " << transport.rank() << ", stage " << stage.stage;
    }
    const std::int64_t bytes =
        static_cast<std::int64_t>(bytes_of(seen)) + slots * WatchingStage::bytes_per_slot;
    EXPECT_EQ(executor.memory(), (StepBytes{.planned = bytes, .measured = bytes}));
  });
}

// What has not been in use is planned all the same.
TEST(StepMemoryCounts, TheMostSlotsOfEachStageAtOnce) {
  Seen seen;
  std::vector<HeldStage> stages(2);
  RankPlan plan;
  for (const int stage : {0, 1}) {
    stages[static_cast<std::size_t>(stage)].object =
        std::make_unique<WatchingStage>(stage, 2, seen);
    plan.stages.push_back(
        {.stage = stage, .direction = 0, .activation_slots = 3, .weight_order = {}});
  }
  StepMemory memory(plan, stages, 70);
  EXPECT_EQ(memory.bytes(), (StepBytes{.planned = 70 + 6 * 1009, .measured = 70}));
  memory.occupy(0);
  memory.occupy(0);
  memory.release(0);
  memory.occupy(1);
  memory.release(1);
  memory.occupy(0);
  memory.release(0);
  EXPECT_EQ(memory.bytes(), (StepBytes{.planned = 70 + 6 * 1009, .measured = 70 + 3 * 1009}));
}

INSTANTIATE_TEST_SUITE_P(Families, StepMemoryOf,
                         testing::Values("gpipe", "1f1b", "interleaved", "zb-h1", "zb-v", "chimera",
                                         "dualpipe", "dualpipev"));

}  // namespace
}  // namespace dualpipe
