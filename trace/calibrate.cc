#include "trace/calibrate.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"
#include "trace/links.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

class Mean {
 public:
  void add(double value) {
    sum_ += value;
    ++count_;
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] double value() const { return empty() ? 0.0 : sum_ / count_; }

 private:
  double sum_ = 0.0;
  int count_ = 0;
};

struct StageMeans {
  Mean forward;
  Mean backward;  // whole
  Mean input;
  Mean weight;
  Mean saved;  // by overlapping, per pair that this stage is in
};

struct StageTimes {
  double forward = 0.0;
  double input = 0.0;
  double weight = 0.0;
};

double nanoseconds(const Span& span) {
  return static_cast<double>(span.duration().count());
}

void add_op(const Span& span, StageMeans& stage) {
  switch (span.slot.front().kind) {
    case OpKind::forward:
      stage.forward.add(nanoseconds(span));
      break;
    case OpKind::backward:
      stage.backward.add(nanoseconds(span));
      break;
    case OpKind::backward_input:
      stage.input.add(nanoseconds(span));
      break;
    case OpKind::backward_weight:
      stage.weight.add(nanoseconds(span));
      break;
  }
}

// The input half's part of a whole backward, as far as any stage shows it.
double input_share(const std::vector<StageMeans>& stages) {
  Mean share;
  for (const StageMeans& stage : stages) {
    const double both = stage.input.value() + stage.weight.value();
    if (!stage.input.empty() && !stage.weight.empty() && both > 0.0) {
      share.add(stage.input.value() / both);
    }
  }
  constexpr double evenly = 0.5;
  return share.empty() ? evenly : share.value();
}

StageTimes times_of(const StageMeans& means, double share, std::size_t stage) {
  const bool halves = !means.input.empty() && !means.weight.empty();
  if (means.forward.empty() || (means.backward.empty() && !halves)) {
    throw Error(ExitCode::infeasible,
                fmt::format("stage {} shows no {} of its own, only overlapped ones or none; "
                            "calibrate from a schedule that runs them apart, such as 1f1b",
                            stage, means.forward.empty() ? "forward" : "backward"));
  }
  StageTimes times{.forward = means.forward.value(), .input = 0.0, .weight = 0.0};
  // Whole backwards are the most frequent where there are both, and then decide the sum.
  const double whole =
      means.backward.empty() ? means.input.value() + means.weight.value() : means.backward.value();
  const double own_share =
      halves ? means.input.value() / std::max(1.0, means.input.value() + means.weight.value())
             : share;
  times.input = whole * own_share;
  times.weight = whole - times.input;
  return times;
}

void add_savings(const Timeline& timeline, const std::vector<StageTimes>& times,
                 std::vector<StageMeans>& means) {
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      if (span.slot.is_pair()) {
        const std::size_t forward = static_cast<std::size_t>(span.slot.front().stage);
        const std::size_t backward = static_cast<std::size_t>(span.slot.back().stage);
        const double apart =
            times[forward].forward + times[backward].input + times[backward].weight;
        means[forward].saved.add(apart - nanoseconds(span));
        means[backward].saved.add(apart - nanoseconds(span));
      }
    }
  }
}

void set_transfers(const LinkFit& fit, CostConfig& config) {
  if (fit.travel.count == 0) {
    return;
  }
  config.p2p = CostNumber(fit.time(), "the timeline");
  if (fit.has_sizes) {
    config.p2p_latency = CostNumber(fit.latency, "the timeline");
  }
}

std::vector<StageMeans> means_of(const Timeline& timeline) {
  std::vector<StageMeans> means(static_cast<std::size_t>(timeline.pipeline.stages()));
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      if (!span.slot.is_pair()) {
        add_op(span, means[static_cast<std::size_t>(span.slot.front().stage)]);
      }
    }
  }
  return means;
}

// Those that the timeline knows: activations always, parameters only where it has any.
void set_bytes(const Timeline& timeline, CostConfig& config) {
  struct Kind {
    CostValue CostConfig::* value;
    std::int64_t StageBytes::* bytes;
  };
  constexpr std::array<Kind, 6> kinds{{
      {&CostConfig::activation_bytes, &StageBytes::activation},
      {&CostConfig::weight_operand_bytes, &StageBytes::weight_operands},
      {&CostConfig::boundary_bytes, &StageBytes::boundary},
      {&CostConfig::weight_bytes, &StageBytes::weights},
      {&CostConfig::gradient_bytes, &StageBytes::gradients},
      {&CostConfig::optimizer_bytes, &StageBytes::optimizer},
  }};
  for (const Kind& kind : kinds) {
    std::vector<double> values;
    for (const StageBytes& bytes : timeline.stage_bytes) {
      values.push_back(static_cast<double>(bytes.*kind.bytes));
    }
    if (std::ranges::any_of(values, [](double value) { return value != 0.0; })) {
      config.*kind.value = CostValue(std::move(values), "the timeline");
    }
  }
  if (!timeline.stage_bytes.empty() && timeline.stage_bytes.back().logits != 0) {
    config.logits_bytes =
        CostNumber(static_cast<double>(timeline.stage_bytes.back().logits), "the timeline");
  }
}

// The mean of what the ranks of a stage take; and of the gradient norm what the last rank to come
// to it waits.
void set_tail(const Timeline& timeline, CostConfig& config) {
  struct Kind {
    CostValue CostConfig::* value;
    TailKind kind;
  };
  constexpr std::array<Kind, 4> kinds{{
      {&CostConfig::replica_reduce, TailKind::replica_reduce},
      {&CostConfig::gradient_reduce, TailKind::gradient_reduce},
      {&CostConfig::optimizer, TailKind::optimizer},
      {&CostConfig::parameter_gather, TailKind::parameter_gather},
  }};
  for (const Kind& kind : kinds) {
    std::vector<Mean> means(static_cast<std::size_t>(timeline.pipeline.stages()));
    bool is_there = false;
    for (const TailSpan& span : timeline.tail) {
      if (span.kind == kind.kind) {
        means[static_cast<std::size_t>(span.stage)].add(
            static_cast<double>((span.end - span.begin).count()));
        is_there = true;
      }
    }
    if (is_there) {
      std::vector<double> values;
      for (const Mean& mean : means) {
        values.push_back(mean.value());
      }
      config.*kind.value = CostValue(std::move(values), "the timeline");
    }
  }
  for (const TailSpan& span : timeline.tail) {
    if (span.kind == TailKind::gradient_norm) {
      const double wait = static_cast<double>((span.end - span.begin).count());
      config.gradient_norm =
          CostNumber(std::min(config.gradient_norm.value_or(wait).value, wait), "the timeline");
    }
  }
}

}  // namespace

CostConfig calibrate(const Timeline& timeline) {
  std::vector<StageMeans> means = means_of(timeline);
  const double share = input_share(means);
  std::vector<StageTimes> times;
  for (std::size_t stage = 0; stage < means.size(); ++stage) {
    times.push_back(times_of(means[stage], share, stage));
  }
  add_savings(timeline, times, means);

  CostConfig config;
  config.unit = "ns";
  config.per = "stage";
  const auto add = [](CostValue& value, double number) {
    if (value.where.empty()) {
      value = CostValue({}, "the timeline");
    }
    value.values.push_back(number);
  };
  std::vector<double> overlapped;
  bool pairs = false;
  for (std::size_t stage = 0; stage < means.size(); ++stage) {
    const StageTimes& one = times[stage];
    add(config.forward, one.forward);
    add(config.backward_input, one.input);
    add(config.backward_weight, one.weight);
    const double backward = one.input + one.weight;
    pairs = pairs || !means[stage].saved.empty();
    overlapped.push_back(std::max(one.forward + backward - means[stage].saved.value(),
                                  std::max(one.forward, backward)));
  }
  if (pairs) {
    config.overlapped = CostValue(overlapped, "the timeline");
  }
  set_transfers(fit_links(timeline).all, config);
  set_bytes(timeline, config);
  set_tail(timeline, config);
  return config;
}

}  // namespace dualpipe
