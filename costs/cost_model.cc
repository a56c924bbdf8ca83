#include "costs/cost_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/config_check.h"
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

// The keys that are one number for every stage or a list of them, and where each goes.
struct TimeKey {
  std::string_view name;
  CostValue CostConfig::* value;
  Time& (*field)(StageCosts&);
};

constexpr std::array<TimeKey, 7> time_keys{{
    {"forward", &CostConfig::forward, [](StageCosts& stage) -> Time& { return stage.forward; }},
    {"backward_input", &CostConfig::backward_input,
     [](StageCosts& stage) -> Time& { return stage.backward_input; }},
    {"backward_weight", &CostConfig::backward_weight,
     [](StageCosts& stage) -> Time& { return stage.backward_weight; }},
    {"replica_reduce", &CostConfig::replica_reduce,
     [](StageCosts& stage) -> Time& { return stage.tail.replica_reduce; }},
    {"gradient_reduce", &CostConfig::gradient_reduce,
     [](StageCosts& stage) -> Time& { return stage.tail.gradient_reduce; }},
    {"optimizer", &CostConfig::optimizer,
     [](StageCosts& stage) -> Time& { return stage.tail.optimizer; }},
    {"parameter_gather", &CostConfig::parameter_gather,
     [](StageCosts& stage) -> Time& { return stage.tail.parameter_gather; }},
}};

struct BytesKey {
  std::string_view name;
  CostValue CostConfig::* value;
  std::int64_t StageBytes::* field;
  bool is_divided = true;  // among the stages of a rank, where costs are per rank
};

constexpr std::array<BytesKey, 6> bytes_keys{{
    {"activation_bytes", &CostConfig::activation_bytes, &StageBytes::activation},
    {"weight_operand_bytes", &CostConfig::weight_operand_bytes, &StageBytes::weight_operands},
    {"boundary_bytes", &CostConfig::boundary_bytes, &StageBytes::boundary, false},
    {"weight_bytes", &CostConfig::weight_bytes, &StageBytes::weights},
    {"gradient_bytes", &CostConfig::gradient_bytes, &StageBytes::gradients},
    {"optimizer_bytes", &CostConfig::optimizer_bytes, &StageBytes::optimizer},
}};

// Which of the config's values count: all of them, defaults too, or those that somebody has set.
enum class Values : std::uint8_t { all, set };

struct TransferTimes {
  Time& whole;
  Time& latency;
};

Time apply(const CostNumber& number, const Scale& time, std::string_view key) {
  return Time(time.apply(number.value, number.where, key));
}

// One of the two transfers, as far as it is set. One that was all latency stays so; of any other
// the latency stays, unless it is set too.
void set_transfer(const std::optional<CostNumber>& whole, const std::optional<CostNumber>& latency,
                  const std::string& key, const Scale& time, const TransferTimes& transfer) {
  const bool was_all_latency = transfer.latency == transfer.whole;
  if (whole) {
    transfer.whole = apply(*whole, time, key);
    transfer.latency =
        was_all_latency ? transfer.whole : std::min(transfer.latency, transfer.whole);
  }
  if (latency) {
    transfer.latency = apply(*latency, time, key + "_latency");
    if (transfer.latency > transfer.whole) {
      refuse(
          latency->where, key + "_latency",
          fmt::format("expected at most the whole transfer, {} ns; found {} ns; set costs.{} too",
                      transfer.whole.count(), transfer.latency.count(), key));
    }
  }
}

// Everything but the stages.
void resolve_transfers(const CostConfig& config, Values which, const Scale& time,
                       CostModel& costs) {
  if (which == Values::all) {
    costs.p2p = costs.p2p_latency = apply(config.p2p.value_or(0.0), time, "p2p");
    costs.p2p_in_node = costs.p2p_in_node_latency = costs.p2p;
  }
  set_transfer(config.p2p, config.p2p_latency, "p2p", time, {costs.p2p, costs.p2p_latency});
  set_transfer(config.p2p_in_node, config.p2p_in_node_latency, "p2p_in_node", time,
               {costs.p2p_in_node, costs.p2p_in_node_latency});
  ConfigCheck("costs").whole("ranks_per_node", config.ranks_per_node, CostRanges::ranks_per_node);
  if (config.ranks_per_node > 0) {
    costs.ranks_per_node = config.ranks_per_node;
  }
  if (config.gradient_norm) {
    costs.gradient_norm = apply(*config.gradient_norm, time, "gradient_norm");
  }
  costs.post_validation = config.post_validation;
}

struct Scales {
  Scale transfers;
  Scale times;  // of ops, as all below but `whole`: they may be of a rank's share of the model
  Scale bytes;
  Scale whole{1.0, bytes_max};
};

Scales scales_of(const CostConfig& config, int ranks, int stages) {
  if (config.per != "rank" && config.per != "stage") {
    refuse("", "per", "expected \"rank\" or \"stage\", found \"" + config.per + "\"");
  }
  const double share = config.per == "rank" ? static_cast<double>(ranks) / stages : 1.0;
  const double unit = nanoseconds_per(config.unit);
  return {.transfers = {unit, time_max},
          .times = {unit * share, time_max},
          .bytes = {share, bytes_max}};
}

// All but the overlapped times.
void resolve_stages(const CostConfig& config, Values which, const Scales& scales,
                    CostModel& costs) {
  const auto counts = [&](const CostValue& value) {
    return which == Values::all || !value.where.empty();
  };
  const int stages = static_cast<int>(costs.stages.size());
  for (const TimeKey& key : time_keys) {
    const PerStage values{config.*key.value, key.name, scales.times};
    values.check(stages);
    for (int stage = 0; stage < stages && counts(values.value); ++stage) {
      key.field(costs.stages[static_cast<std::size_t>(stage)]) = Time(values.at(stage));
    }
  }
  for (const BytesKey& key : bytes_keys) {
    const PerStage values{config.*key.value, key.name,
                          key.is_divided ? scales.bytes : scales.whole};
    values.check(stages);
    for (int stage = 0; stage < stages && counts(values.value); ++stage) {
      costs.stages[static_cast<std::size_t>(stage)].bytes.*key.field = values.at(stage);
    }
  }
  if (const std::optional<CostNumber>& logits = config.logits_bytes) {
    costs.stages.back().bytes.logits =
        scales.whole.apply(logits->value, logits->where, "logits_bytes");
  }
}

// Requires: the halves of every stage; `overlapped` as it is without the config's.
void resolve_overlapped(const CostConfig& config, const Scale& time, CostModel& costs) {
  if (!config.overlapped) {
    for (StageCosts& stage : costs.stages) {
      stage.overlapped = std::max({stage.overlapped, stage.forward, stage.backward()});
    }
    return;
  }
  const PerStage overlapped{*config.overlapped, "overlapped", time};
  overlapped.check(static_cast<int>(costs.stages.size()));
  int number = 0;
  for (StageCosts& stage : costs.stages) {
    const Time longer = std::max(stage.forward, stage.backward());
    const Time rounding{2};
    stage.overlapped = Time(overlapped.at(number));
    if (stage.overlapped + rounding < longer) {
      refuse(config.overlapped->where, "overlapped",
             fmt::format("stage {}: a forward overlapped with a backward takes at least the longer "
                         "of the two, {} ns; found {} ns",
                         number, longer.count(), stage.overlapped.count()));
    }
    stage.overlapped = std::max(stage.overlapped, longer);
    ++number;
  }
}

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
  CostModel costs;
  costs.stages.resize(static_cast<std::size_t>(stages));
  const Scales scales = scales_of(config, ranks, stages);
  resolve_transfers(config, Values::all, scales.transfers, costs);
  resolve_stages(config, Values::all, scales, costs);
  for (StageCosts& stage : costs.stages) {
    stage.overlapped = stage.forward + stage.backward();
  }
  resolve_overlapped(config, scales.times, costs);
  return costs;
}

CostModel override_costs(CostModel derived, const CostConfig& config, int ranks) {
  CHECK(ranks > 0 && !derived.stages.empty());
  const Scales scales = scales_of(config, ranks, static_cast<int>(derived.stages.size()));
  const std::vector<StageCosts> before = derived.stages;
  resolve_transfers(config, Values::set, scales.transfers, derived);
  resolve_stages(config, Values::set, scales, derived);
  for (std::size_t stage = 0; stage < before.size(); ++stage) {
    const Time sum = before[stage].forward + before[stage].backward();
    StageCosts& after = derived.stages[stage];
    const Time new_sum = after.forward + after.backward();
    if (sum != new_sum && sum != Time{}) {
      const double ratio =
          static_cast<double>(before[stage].overlapped.count()) / static_cast<double>(sum.count());
      after.overlapped = std::max({Time(std::llround(ratio * static_cast<double>(new_sum.count()))),
                                   after.forward, after.backward()});
    }
  }
  resolve_overlapped(config, scales.times, derived);
  return derived;
}

void require_step_fits(const CostModel& costs, int microbatches) {
  double time = static_cast<double>(costs.gradient_norm.count());  // ns
  double bytes = 0.0;
  for (const StageCosts& stage : costs.stages) {
    const Time each = stage.forward + stage.backward() + stage.overlapped +
                      2 * std::max(costs.p2p, costs.p2p_in_node);
    const Time once = stage.tail.replica_reduce + stage.tail.gradient_reduce +
                      stage.tail.optimizer + stage.tail.parameter_gather;
    time += static_cast<double>(each.count()) * microbatches + static_cast<double>(once.count());
    const StageBytes& kept = stage.bytes;
    bytes += (static_cast<double>(kept.activation) + static_cast<double>(kept.weight_operands) +
              static_cast<double>(kept.logits)) *
                 microbatches +
             static_cast<double>(kept.boundary) + static_cast<double>(kept.weights) +
             static_cast<double>(kept.gradients) + static_cast<double>(kept.optimizer);
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
