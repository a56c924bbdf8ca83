#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "sim/monte_carlo.h"
#include "sim/simulate.h"
#include "tests/validation/configs.h"
#include "tests/validation/figures.h"
#include "tests/validation/sections.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr std::uint64_t seed = 1;
constexpr int samples = 64;  // steps of a column with jitter

// Of both configs: as many stages as ranks, and rank 5 has stages 5 and 10, which are neither first
// nor last.
constexpr std::size_t ranks_and_stages = 16;
constexpr std::size_t inner_stage = 5;
constexpr std::size_t other_inner_stage = 10;

// What a step takes, seconds: the rows of the published table, means over the ranks.
struct Breakdown {
  double forward = 0.0;
  double bubble = 0.0;
  double input = 0.0;
  double weight = 0.0;
  double pairs = 0.0;
  double tail = 0.0;  // what follows the last slot

  [[nodiscard]] double step() const { return forward + bubble + input + weight + pairs + tail; }
};

struct Row {
  std::string_view name;
  double Breakdown::* seconds = nullptr;
};

constexpr std::array<Row, 6> rows{{{"1F", &Breakdown::forward},
                                   {"bubble", &Breakdown::bubble},
                                   {"1B", &Breakdown::input},
                                   {"1W", &Breakdown::weight},
                                   {"1F1B", &Breakdown::pairs},
                                   {"optimizer", &Breakdown::tail}}};

constexpr Breakdown published{
    .forward = 1.13, .bubble = 2.06, .input = 1.99, .weight = 0.48, .pairs = 13.95, .tail = 0.29};
constexpr double published_step = 19.926;

double seconds(Time time) {
  return static_cast<double>(time.count()) / 1e9;
}

// A backward that is not halved counts for each half as its costs say.
void add_slot(Breakdown& sum, const Span& span, const CostModel& costs) {
  const Op& op = span.slot.front();
  if (span.slot.is_pair()) {
    sum.pairs += seconds(span.duration());
  } else if (op.kind == OpKind::forward) {
    sum.forward += seconds(span.duration());
  } else if (op.kind == OpKind::backward) {
    const StageCosts& stage = costs.stages[static_cast<std::size_t>(op.stage)];
    const double input_share = seconds(stage.backward_input) / seconds(stage.backward());
    sum.input += seconds(span.duration()) * input_share;
    sum.weight += seconds(span.duration()) * (1.0 - input_share);
  } else {
    (op.kind == OpKind::backward_input ? sum.input : sum.weight) += seconds(span.duration());
  }
}

Breakdown breakdown_of(Timeline timeline, const CostModel& costs) {
  Breakdown sum;
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      add_slot(sum, span, costs);
    }
  }
  const auto ranks = static_cast<double>(timeline.ranks.size());
  for (const Row& row : rows) {
    sum.*row.seconds /= ranks;
  }
  const double step = seconds(makespan(timeline));
  timeline.tail.clear();
  const double slots = seconds(makespan(timeline));
  sum.bubble = slots - sum.forward - sum.input - sum.weight - sum.pairs;
  sum.tail = step - slots;
  return sum;
}

struct Run {
  Program program;
  CostModel costs;
};

Run run_of(const std::string& config_path, const std::vector<std::string>& sets) {
  const SubjectOptions options = subject_of({config_path}, sets);
  const Config config = resolve_config(options);
  Program program = compile_subject(load_subject(options, config), config);
  CostModel costs = costs_for(program.schedule(), config);
  return {std::move(program), std::move(costs)};
}

Breakdown ideal(const Run& run) {
  return breakdown_of(simulate(run.program, run.costs, {.transfers = false}), run.costs);
}

// One way in which steps are not ideal, by how much.
struct Cause {
  std::string name;
  std::function<Variation(double)> variation;
  int steps = 1;  // that differ from one another
};

// The mean of its steps.
Breakdown varied(const Run& run, const Cause& cause, double amount) {
  const DurationSampler sampler(run.program, run.costs, cause.variation(amount));
  Breakdown mean;
  for (int sample = 0; sample < cause.steps; ++sample) {
    const StepDurations durations = sampler.draw(seed, static_cast<std::uint64_t>(sample));
    const Breakdown one =
        breakdown_of(simulate(run.program, run.costs, durations, {.transfers = false}), run.costs);
    for (const Row& row : rows) {
      mean.*row.seconds += one.*row.seconds / cause.steps;
    }
  }
  return mean;
}

// Stages and ranks in the middle: elsewhere a little less is lost.
std::vector<double> slower_middle(double amount) {
  std::vector<double> factors(ranks_and_stages, 1.0);
  factors[ranks_and_stages / 2] += amount;
  return factors;
}

Cause jitter() {
  return {.name = "jitter of every op",
          .variation = [](double amount) { return Variation{.slot_sigma = amount}; },
          .steps = samples};
}

Cause slow_stage() {
  return {.name = "one stage slower", .variation = [](double amount) {
            return Variation{.stage_factors = slower_middle(amount)};
          }};
}

Cause slow_rank() {
  return {.name = "one rank slower", .variation = [](double amount) {
            return Variation{.rank_factors = slower_middle(amount)};
          }};
}

// Of the cause, how much gives the published bubble; to a hundredth of a per cent.
double amount_for_published_bubble(const Run& run, const Cause& cause) {
  double less = 0.0;
  double more = 0.5;
  while (more - less > 1e-4) {
    const double middle = (less + more) / 2.0;
    (varied(run, cause, middle).bubble < published.bubble ? less : more) = middle;
  }
  return more;
}

struct Column {
  std::string name;
  Breakdown breakdown;
};

// "1.345 (-0.715, -34.71 %)".
std::string beside(double ours, double reference) {
  return fmt::format("{:.3f} ({}, {})", ours, signed_number(ours - reference, 3),
                     signed_percent(ours - reference, reference));
}

std::string step_table(const std::vector<Column>& columns) {
  std::vector<std::string> headers{"seconds", "published"};
  std::vector<std::string> step{"step", fmt::format("{:.3f}", published_step)};
  for (const Column& column : columns) {
    headers.push_back(column.name);
    step.push_back(beside(column.breakdown.step(), published_step));
  }
  std::vector<std::vector<std::string>> cells;
  for (const Row& row : rows) {
    cells.push_back({std::string(row.name), fmt::format("{:.2f}", published.*row.seconds)});
    for (const Column& column : columns) {
      cells.back().push_back(beside(column.breakdown.*row.seconds, published.*row.seconds));
    }
  }
  cells.push_back(std::move(step));
  return markdown_table(headers, 1, cells);
}

// What gives the published bubble, and what else it then does.
std::string causes_table(const Run& run) {
  const std::vector<std::string> headers{
      "cause",           "how much",       "bubble, s",        "step, s",
      "least idle rank", "most idle rank", "shortest step, s", "longest step, s"};
  std::vector<std::vector<std::string>> cells;
  for (const Cause& cause : {jitter(), slow_stage(), slow_rank()}) {
    const double amount = amount_for_published_bubble(run, cause);
    const MonteCarlo steps = monte_carlo(run.program, run.costs, cause.variation(amount),
                                         {.samples = cause.steps, .seed = seed});
    const auto [least, most] = std::ranges::minmax(steps.rank_bubble_ratios);
    cells.push_back({cause.name, fmt::format("{:.1f} %", 100.0 * amount),
                     fmt::format("{:.2f}", varied(run, cause, amount).bubble),
                     fmt::format("{:.2f}", steps.mean / 1e9),
                     fmt::format("{:.1f} %", 100.0 * least), fmt::format("{:.1f} %", 100.0 * most),
                     fmt::format("{:.2f}", seconds(steps.shortest)),
                     fmt::format("{:.2f}", seconds(steps.longest))});
  }
  return markdown_table(headers, 1, cells);
}

// Were all stages like one in the middle, without embedding, dense layers and head.
double bubble_of_equal_stages(Run run) {
  std::ranges::fill(run.costs.stages, StageCosts(run.costs.stages[inner_stage]));
  return ideal(run).bubble;
}

std::string why_derived_differs(const Run& run, const Run& derived) {
  const StageCosts& table = run.costs.stages[inner_stage];
  const StageCosts& stage = derived.costs.stages[inner_stage];
  const auto ms = [](Time time) { return 1e3 * seconds(time); };
  return fmt::format(
      "- derived, 1F: an op on its own hides none of its messages to the experts, {:.1f} ms a "
      "stage "
      "against the table's {:.1f}.\n"
      "- derived, bubble: stages differ, the last one has the head and the prediction module. Were "
      "they equal it would be {:.2f} s;\n  so jitter or overload have room in it as well.\n"
      "- derived, 1B and 1W: four layers of the published profile, to which efficiencies were "
      "fitted, take {:.1f} and {:.1f} ms; the\n  table leaves {:.1f} and {:.1f} for them. The two "
      "sources do not agree, and which backwards the table counts where is not said.\n"
      "- derived, 1F1B: {:.1f} ms a pair against {:.1f}; in ours its two lanes never slow each "
      "other, and all that is sent hides\n  behind computing.\n"
      "- derived, optimizer: the update itself takes {:.0f} ms. The rest is reducing gradients and "
      "gathering parameters, about which\n  the table says nothing.\n",
      ms(stage.forward), ms(table.forward), bubble_of_equal_stages(derived),
      ms(stage.backward_input), ms(stage.backward_weight), ms(table.backward_input),
      ms(table.backward_weight), ms(stage.overlapped), ms(table.overlapped),
      ms(stage.tail.optimizer + derived.costs.stages[other_inner_stage].tail.optimizer));
}

}  // namespace

std::string deepseek_section(const std::string& configs) {
  // The table's optimizer, over the two stages of a rank.
  const std::string optimizer = fmt::format("costs.optimizer={}", 1e3 * published.tail / 2.0);
  const Run run = run_of(configs + "/deepseek_v3.toml", {optimizer});
  const Run derived = run_of(configs + "/deepseek_v3_h800.toml", {});
  const std::vector<Column> columns{{"ideal", ideal(run)},
                                    {"5 % jitter", varied(run, jitter(), 0.05)},
                                    {"6 % jitter", varied(run, jitter(), 0.06)},
                                    {"one stage 7 % slower", varied(run, slow_stage(), 0.07)},
                                    {"one rank 7 % slower", varied(run, slow_rank(), 0.07)},
                                    {"derived costs", ideal(derived)}};
  return fmt::format(
             "## DeepSeek-V3's step\n\n"
             "A step on 2,048 H800, 16 ranks, 120 microbatches: Zhao et al., \"Insights into "
             "DeepSeek-V3\", "
             "ISCA 2025, Table 4, whose rows\nadd up to {:.2f} s of its {:.3f}. Means over the "
             "ranks; a "
             "backward that is not halved counts for 1B and 1W. The first five of\nours have the "
             "costs of "
             "`configs/deepseek_v3.toml`, which are that table divided by the number of ops, and "
             "its "
             "optimizer; the\nlast those that are derived from model and machine in "
             "`configs/deepseek_v3_h800.toml`. Jitter is a lognormal factor for every\nslot, and "
             "the mean "
             "of {} steps.\n\n",
             published.step(), published_step, samples) +
         step_table(columns) +
         "\nWhy they differ:\n\n"
         "- ideal: nothing is ever late, so that only the schedule's own bubble is left; the rows "
         "of "
         "computing are off by the rounding\n  of the costs to three digits.\n"
         "- jitter, slower stage, slower rank: guesses at what the rest of the bubble is.\n" +
         why_derived_differs(run, derived) +
         "\n**One table cannot tell these apart.** Each of the following gives the published "
         "bubble, and all of them in smaller amounts\ntogether would as well. What would tell: the "
         "ranks one by one, since a slow stage or rank leaves its own ranks the least\nidle time, "
         "and "
         "several steps, since jitter alone makes them differ. A stage is on two ranks, each with "
         "half of the microbatches,\nso that it takes twice as much of it as of a rank.\n\n" +
         causes_table(run);
}

}  // namespace dualpipe
