#include "costs/cost_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/error.h"

namespace dualpipe {
namespace {

constexpr double time_max = 1e12;   // ns: a thousand seconds, so a path of 9 million such ops fits
constexpr double bytes_max = 1e15;  // a petabyte

[[noreturn]] void refuse(std::string_view where, std::string_view key, const std::string& what) {
  const std::string prefix = where.empty() ? "" : std::string(where) + ": ";
  throw Error(ExitCode::usage, fmt::format("{}costs.{}: {}", prefix, key, what));
}

double nanoseconds_per(const std::string& unit) {
  constexpr std::array<double, cost_units.size()> factors{1.0, 1e3, 1e6, 1e9};
  for (std::size_t index = 0; index < cost_units.size(); ++index) {
    if (unit == cost_units[index]) {
      return factors[index];
    }
  }
  refuse("", "unit",
         fmt::format("expected one of {}; found '{}'", fmt::join(cost_units, ", "), unit));
}

// How a number of the config becomes nanoseconds or bytes.
struct Scale {
  double factor = 1.0;
  double largest = time_max;  // of the result

  [[nodiscard]] std::int64_t apply(double value, std::string_view where,
                                   std::string_view key) const {
    const double amount = value * factor;
    if (!std::isfinite(amount) || amount < 0.0 || amount > largest) {
      refuse(where, key,
             fmt::format("expected a number from 0 to {:g}, found {:g}", largest / factor, value));
    }
    return std::llround(amount);
  }
};

// Reads a CostValue for one stage after another.
struct PerStage {
  const CostValue& value;
  std::string_view key;
  Scale scale;

  void check(int stages) const {
    const std::size_t expected = static_cast<std::size_t>(stages);
    if (value.values.size() != 1 && value.values.size() != expected) {
      refuse(value.where, key,
             fmt::format("expected one number, or a list of {} (one per stage); found a list of {}",
                         stages, value.values.size()));
    }
  }
  [[nodiscard]] std::int64_t at(int stage) const {
    const std::size_t index = value.values.size() == 1 ? 0 : static_cast<std::size_t>(stage);
    return scale.apply(value.values[index], value.where, key);
  }
};

}  // namespace

Time overlapped_time(const StageCosts& forward_stage, const StageCosts& backward_stage) {
  const auto saved = [](const StageCosts& stage) {
    return stage.forward + stage.backward() - stage.overlapped;
  };
  const Time apart = forward_stage.forward + backward_stage.backward();
  const Time together = apart - (saved(forward_stage) + saved(backward_stage)) / 2;
  return std::max({together, forward_stage.forward, backward_stage.backward()});
}

CostModel resolve_costs(const CostConfig& config, int ranks, int stages) {
  CHECK(ranks > 0 && stages > 0);
  if (config.per != "rank" && config.per != "stage") {
    refuse("", "per", "expected \"rank\" or \"stage\", found \"" + config.per + "\"");
  }
  const double share = config.per == "rank" ? static_cast<double>(ranks) / stages : 1.0;
  const double unit = nanoseconds_per(config.unit);
  const Scale time{.factor = unit * share, .largest = time_max};
  const Scale bytes{.factor = share, .largest = bytes_max};
  const CostValue overlapped_value = config.overlapped.value_or(0.0);
  const PerStage forward{config.forward, "forward", time};
  const PerStage input{config.backward_input, "backward_input", time};
  const PerStage weight{config.backward_weight, "backward_weight", time};
  const PerStage overlapped{overlapped_value, "overlapped", time};
  const PerStage activation{config.activation_bytes, "activation_bytes", bytes};
  const PerStage operands{config.weight_operand_bytes, "weight_operand_bytes", bytes};
  for (const PerStage* value : {&forward, &input, &weight, &overlapped, &activation, &operands}) {
    value->check(stages);
  }

  CostModel costs;
  costs.p2p = Time(Scale{.factor = unit, .largest = time_max}.apply(config.p2p, "", "p2p"));
  for (int stage = 0; stage < stages; ++stage) {
    StageCosts resolved{.forward = Time(forward.at(stage)),
                        .backward_input = Time(input.at(stage)),
                        .backward_weight = Time(weight.at(stage)),
                        .activation_bytes = activation.at(stage),
                        .weight_operand_bytes = operands.at(stage)};
    const Time apart = resolved.forward + resolved.backward();
    const Time longer = std::max(resolved.forward, resolved.backward());
    const Time rounding{2};
    resolved.overlapped = config.overlapped ? Time(overlapped.at(stage)) : apart;
    if (resolved.overlapped + rounding < longer) {
      refuse(overlapped_value.where, "overlapped",
             fmt::format("stage {}: a forward overlapped with a backward takes at least the longer "
                         "of the two, {} ns; found {} ns",
                         stage, longer.count(), resolved.overlapped.count()));
    }
    resolved.overlapped = std::max(resolved.overlapped, longer);
    costs.stages.push_back(resolved);
  }
  return costs;
}

void require_step_fits(const CostModel& costs, int microbatches) {
  double time = 0.0;  // ns
  double bytes = 0.0;
  for (const StageCosts& stage : costs.stages) {
    const Time each = stage.forward + stage.backward() + stage.overlapped + 2 * costs.p2p;
    time += static_cast<double>(each.count()) * microbatches;
    bytes += (static_cast<double>(stage.activation_bytes) +
              static_cast<double>(stage.weight_operand_bytes)) *
             microbatches;
  }
  constexpr double sum_max = 4e18;
  if (time > sum_max || bytes > sum_max) {
    throw Error(ExitCode::usage,
                fmt::format("[costs]: expected at most {:.0e} {} in a step of {} microbatches, all "
                            "ops together, found {:.1e}; lower the costs or the microbatches",
                            sum_max, time > sum_max ? "ns" : "bytes", microbatches,
                            time > sum_max ? time : bytes));
  }
}

}  // namespace dualpipe
