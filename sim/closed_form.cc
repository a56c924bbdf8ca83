#include "sim/closed_form.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/slot_time.h"
#include "sim/tail.h"

namespace dualpipe {
namespace {

struct Kind {
  std::string_view name;
  Time StageCosts::* time;
};
constexpr std::array<Kind, 4> kinds{{{"forward", &StageCosts::forward},
                                     {"input-gradient half", &StageCosts::backward_input},
                                     {"weight-gradient half", &StageCosts::backward_weight},
                                     {"overlapped pair", &StageCosts::overlapped}}};

// The stage and kind furthest from the mean, in words; nothing where all stages are equal.
std::optional<std::string> inequality(const CostModel& costs, const StageCosts& mean) {
  std::optional<std::string> words;
  double furthest = 0.0;
  for (std::size_t stage = 0; stage < costs.stages.size(); ++stage) {
    for (const Kind& kind : kinds) {
      const Time own = costs.stages[stage].*kind.time;
      const Time usual = mean.*kind.time;
      const bool differs = own != usual;
      const double distance = std::abs(static_cast<double>((own - usual).count())) /
                              static_cast<double>(usual.count() + 1);
      if (differs && (!words || distance > furthest)) {
        furthest = distance;
        words = fmt::format(
            "it is for stages of equal cost, but the {} of stage {} takes {} ns and the mean {} ns",
            kind.name, stage, own.count(), usual.count());
      }
    }
  }
  return words;
}

// The nearest number of microbatches for which the formula is known, without transfers.
std::optional<int> nearest_covered(const Family& family, Shape shape, const StageCosts& stage) {
  const int asked = shape.microbatches;
  const int reach = 4 * shape.ranks * shape.chunks + 4;
  for (int distance = 1; distance <= reach; ++distance) {
    for (const int microbatches : {asked + distance, asked - distance}) {
      shape.microbatches = microbatches;
      if (microbatches > 0 && family.supports(shape) &&
          family.closed_form(shape, stage, Time{}).step_time) {
        return microbatches;
      }
    }
  }
  return std::nullopt;
}

}  // namespace

PublishedTime published_time(const Family& family, const Shape& shape, const CostModel& costs) {
  CHECK(!costs.stages.empty());
  PublishedTime published;
  const StageCosts mean = with_mean_stages(costs).stages.front();
  if (const std::optional<std::string> words = inequality(costs, mean)) {
    published.reasons.push_back(*words);
  }
  if (has_tail(costs)) {
    published.reasons.emplace_back(
        "it ends with the last slot, before gradients are reduced and optimizers run");
  }
  if (costs.ranks_per_node > 1 && costs.p2p_in_node != costs.p2p) {
    published.reasons.push_back(
        fmt::format("it is for equal transfers, but between ranks of one node they take {} ns and "
                    "{} ns elsewhere, which is assumed for all",
                    costs.p2p_in_node.count(), costs.p2p.count()));
  }
  published.step_time = family.closed_form(shape, mean, costs.p2p).step_time;
  if (published.step_time) {
    return published;
  }
  published.step_time = family.closed_form(shape, mean, Time{}).step_time;
  if (published.step_time) {
    published.reasons.push_back(fmt::format(
        "it does not cover transfers of {} ns here; free ones are assumed", costs.p2p.count()));
    return published;
  }
  if (const std::optional<int> nearest = nearest_covered(family, shape, mean)) {
    published.reasons.push_back(fmt::format(
        "it does not cover {} microbatches on {} ranks; the nearest number that it does is {}",
        shape.microbatches, shape.ranks, *nearest));
  } else {
    published.reasons.push_back(family.cost_aware()
                                    ? "none is known: the order itself depends on the costs"
                                    : "none is known for this shape and these costs");
  }
  return published;
}

}  // namespace dualpipe
