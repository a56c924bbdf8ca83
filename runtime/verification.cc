#include "runtime/verification.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "runtime/collectives.h"
#include "runtime/executor.h"
#include "runtime/held_stage.h"
#include "runtime/plain_run.h"
#include "runtime/rank_answers.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

// Of one stage's gradient. Requires: equal sizes.
GradientDifference difference(std::span<const float> found, std::span<const float> expected) {
  double apart = 0.0;
  double magnitude = 0.0;
  for (std::size_t element = 0; element < expected.size(); ++element) {
    const double one = static_cast<double>(expected[element]);
    const double other = static_cast<double>(found[element]);
    if (!std::isfinite(one) || !std::isfinite(other)) {
      return {.absolute = infinite, .relative = infinite};
    }
    apart = std::max(apart, std::abs(one - other));
    magnitude = std::max(magnitude, std::abs(one));
  }
  return {.absolute = apart, .relative = apart == 0.0 ? 0.0 : apart / magnitude};
}

GradientDifference larger(const GradientDifference& one, const GradientDifference& other) {
  return {.absolute = std::max(one.absolute, other.absolute),
          .relative = std::max(one.relative, other.relative)};
}

}  // namespace

bool sums_in_plain_order(const Pipeline& pipeline) {
  std::array<std::array<bool, 2>, 2> seen{};  // [direction][half]
  if (pipeline.placement.directions() == 1) {
    return true;
  }
  for (int microbatch = 0; microbatch < pipeline.microbatches(); ++microbatch) {
    const int direction = pipeline.direction[static_cast<std::size_t>(microbatch)];
    const bool second = microbatch >= pipeline.microbatches() / 2;
    seen[static_cast<std::size_t>(direction)][second ? 1 : 0] = true;
  }
  const auto has_some = [](const auto& halves) { return halves[0] || halves[1]; };
  const auto has_both = [](const auto& halves) { return halves[0] && halves[1]; };
  return !std::ranges::all_of(seen, has_some) || std::ranges::none_of(seen, has_both);
}

Verification::Verification(const Program& program, const BoundedWait& waits,
                           const StageFactory& make_stage)
    : program_(program), waits_(waits) {
  if (waits.transport().rank() == 0) {
    plain_ =
        std::make_unique<PlainRun>(waits.transport().device(), make_stage,
                                   program.pipeline().stages(), program.pipeline().microbatches());
  }
}

void Verification::compare(int step, Executor& executor) {
  std::vector<float> mine;
  for (const HeldStage& held : executor.stages()) {
    const std::vector<float> gradient = executor.read(held.gradient);
    mine.insert(mine.end(), gradient.begin(), gradient.end());
  }
  const auto all = gather(waits_, std::as_bytes(std::span(mine)));
  if (!plain_) {
    return;
  }
  plain_->run(static_cast<std::uint64_t>(step));
  std::vector<std::vector<float>> expected;  // [stage]
  for (int stage = 0; stage < program_.pipeline().stages(); ++stage) {
    expected.push_back(executor.read(plain_->gradient(stage)));
  }
  for (int rank = 0; rank < waits_.transport().ranks(); ++rank) {
    const std::vector<RankPlan::HeldStage> stages = plan_rank(program_, rank).stages;
    std::size_t count = 0;
    for (const RankPlan::HeldStage& held : stages) {
      count += expected[static_cast<std::size_t>(held.stage)].size();
    }
    const std::vector<float> found = values_of<float>(
        {.rank = rank, .what = "its gradients", .bytes = all[static_cast<std::size_t>(rank)]},
        count);
    std::span<const float> rest(found);
    for (const RankPlan::HeldStage& held : stages) {
      const std::vector<float>& plain = expected[static_cast<std::size_t>(held.stage)];
      largest_ = larger(largest_, difference(rest.first(plain.size()), plain));
      rest = rest.subspan(plain.size());
    }
  }
  plain_->apply_gradients();
}

}  // namespace dualpipe
