#include "costs/layout.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/config_check.h"
#include "costs/model.h"
#include "costs/parallel.h"

namespace dualpipe {
namespace {

constexpr std::size_t symbols_max = 100'000;  // after repetition; more than any model has layers
constexpr int depth_max = 8;                  // of brackets

// Writes the repetitions of a layout out: "Et*2|(t|)*2L" is "Ett|t|t|L".
class Expander {
 public:
  explicit Expander(std::string_view text) : text_(text) {}

  std::string expand() {
    std::string symbols = sequence(0);
    if (position_ < text_.size()) {
      refuse("no closing bracket without an opening one");
    }
    return symbols;
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    const std::string found =
        position_ < text_.size() ? fmt::format("'{}'", text_[position_]) : "the end";
    ConfigCheck("parallel")
        .refuse("layout",
                {.expected =
                     fmt::format("{} at character {} of \"{}\"", expected, position_ + 1, text_),
                 .found = found,
                 .remedy = "write E t m L | for embedding, layer, prediction module, head and the "
                           "end of a stage, x*n and (..)*n for repetition"});
  }

  // Up to a closing bracket or the end.
  std::string sequence(int depth) {  // NOLINT(misc-no-recursion): depth_max bounds it
    std::string symbols;
    while (position_ < text_.size() && text_[position_] != ')') {
      const char letter = text_[position_];
      if (letter == ',' || letter == ' ') {
        ++position_;
        continue;
      }
      const std::string once = unit(depth);
      for (int time = repetitions(); time > 0; --time) {
        symbols += once;
        if (symbols.size() > symbols_max) {
          refuse(fmt::format("no more than {} symbols in all", symbols_max));
        }
      }
    }
    return symbols;
  }

  // One symbol, or what is in one pair of brackets.
  std::string unit(int depth) {  // NOLINT(misc-no-recursion)
    const char letter = text_[position_];
    if (letter != '(') {
      if (std::string_view("EtmL|").find(letter) == std::string_view::npos) {
        refuse("one of E t m L | ( )");
      }
      ++position_;
      return {letter};
    }
    if (depth == depth_max) {
      refuse(fmt::format("no more than {} brackets in one another", depth_max));
    }
    ++position_;
    std::string symbols = sequence(depth + 1);
    if (position_ == text_.size()) {
      refuse("')'");
    }
    ++position_;
    return symbols;
  }

  int repetitions() {
    if (position_ == text_.size() || text_[position_] != '*') {
      return 1;
    }
    ++position_;
    int count = 0;
    const std::size_t begin = position_;
    for (; position_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[position_]));
         ++position_) {
      count = std::min(10 * count + (text_[position_] - '0'), static_cast<int>(symbols_max) + 1);
    }
    if (position_ == begin || count == 0) {
      refuse("a number of repetitions from 1");
    }
    return count;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

[[noreturn]] void refuse_layout(std::string_view text, const std::string& expected,
                                const std::string& found) {
  ConfigCheck("parallel")
      .refuse("layout", {.expected = expected,
                         .found = fmt::format("{} in \"{}\"", found, text),
                         .remedy = "write it as \"Et*3|(tt|)*29,m|L\""});
}

std::vector<StageLayout> with_ends(std::vector<StageLayout> stages, const ModelConfig& model) {
  stages.front().embedding = true;
  stages.back().mtp_layers = model.mtp_layers;
  stages.back().head = true;
  return stages;
}

std::vector<StageLayout> stages_with(const std::vector<int>& layers_per_stage,
                                     const ModelConfig& model) {
  std::vector<StageLayout> stages(layers_per_stage.size());
  int next = 0;
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    stages[stage].layers.resize(static_cast<std::size_t>(layers_per_stage[stage]));
    std::iota(stages[stage].layers.begin(), stages[stage].layers.end(), next);
    next += layers_per_stage[stage];
  }
  return with_ends(std::move(stages), model);
}

std::vector<StageLayout> listed_layout(const ModelConfig& model, const ParallelConfig& parallel) {
  std::vector<int> counts;
  for (const double value : parallel.layers_per_stage) {
    const bool is_inside = value >= 0.0 && value <= model.layers;  // no NaN is
    if (!is_inside || value != std::floor(value)) {
      ConfigCheck("parallel")
          .refuse("layers_per_stage",
                  {.expected = fmt::format("whole numbers from 0 to {}", model.layers),
                   .found = fmt::format("{:g}", value),
                   .remedy = "write how many decoder layers each stage has"});
    }
    counts.push_back(static_cast<int>(value));
  }
  if (const int sum = std::accumulate(counts.begin(), counts.end(), 0); sum != model.layers) {
    ConfigCheck("parallel")
        .refuse(
            "layers_per_stage",
            {.expected = fmt::format("numbers that add up to the model's {} layers", model.layers),
             .found = fmt::format("a sum of {}", sum),
             .remedy = "leave parallel.layers_per_stage out for an even split"});
  }
  std::vector<StageLayout> stages = stages_with(counts, model);
  if (std::ranges::find(stages, StageLayout{}) != stages.end()) {
    ConfigCheck("parallel")
        .refuse("layers_per_stage", {.expected = "at least one layer in every stage between the "
                                                 "first and the last",
                                     .found = "none in one of them",
                                     .remedy = "take fewer ranks or chunks"});
  }
  return stages;
}

}  // namespace

std::vector<StageLayout> parse_layout(std::string_view text, const ModelConfig& model) {
  const std::string symbols = Expander(text).expand();
  std::string held = symbols;
  std::erase(held, '|');
  const auto count = [&](char symbol) {
    return static_cast<int>(std::count(held.begin(), held.end(), symbol));
  };
  if (!held.starts_with('E') || !held.ends_with('L') || count('E') != 1 || count('L') != 1) {
    refuse_layout(text, "one E, first, and one L, last",
                  fmt::format("{} and {}", count('E'), count('L')));
  }
  if (count('t') != model.layers || count('m') != model.mtp_layers) {
    refuse_layout(text,
                  fmt::format("the model's {} layers (t) and {} prediction modules (m)",
                              model.layers, model.mtp_layers),
                  fmt::format("{} and {}", count('t'), count('m')));
  }
  if (held.rfind('t') > held.find('m')) {  // npos where there is no m
    refuse_layout(text, "prediction modules (m) after all layers (t)", "one before");
  }
  std::vector<StageLayout> stages(1);
  int next = 0;
  for (const char symbol : symbols) {
    StageLayout& stage = stages.back();
    if (symbol == '|' && stage == StageLayout{}) {
      refuse_layout(text, "something in every stage",
                    fmt::format("nothing in stage {}", stages.size() - 1));
    }
    switch (symbol) {
      case 'E':
        stage.embedding = true;
        break;
      case 't':
        stage.layers.push_back(next++);
        break;
      case 'm':
        ++stage.mtp_layers;
        break;
      case 'L':
        stage.head = true;
        break;
      default:
        stages.emplace_back();
    }
  }
  if (stages.back() == StageLayout{}) {
    refuse_layout(text, "something in every stage", "nothing after the last |");
  }
  return stages;
}

std::vector<StageLayout> split_evenly(const ModelConfig& model, int stages) {
  CHECK(stages > 0);
  if (model.layers < stages) {
    ConfigCheck("parallel")
        .refuse("layout", {.expected = fmt::format("a layout, because the model's {} layers do not "
                                                   "go round {} stages",
                                                   model.layers, stages),
                           .found = "none",
                           .remedy = "write one, or take fewer ranks or chunks"});
  }
  std::vector<int> counts(static_cast<std::size_t>(stages), model.layers / stages);
  std::vector<int> order(counts.size());  // 1, 2, ..., S - 2, 0, S - 1
  std::iota(order.begin(), order.end(), 0);
  if (stages > 2) {
    std::rotate(order.begin(), order.begin() + 1, order.end() - 1);
  }
  for (int surplus = 0; surplus < model.layers % stages; ++surplus) {
    ++counts[static_cast<std::size_t>(order[static_cast<std::size_t>(surplus)])];
  }
  return stages_with(counts, model);
}

std::vector<StageLayout> layout_of(const ModelConfig& model, const ParallelConfig& parallel,
                                   int stages) {
  const bool is_listed = !parallel.layers_per_stage.empty();
  if (!is_listed && parallel.layout.empty()) {
    return split_evenly(model, stages);
  }
  if (is_listed && !parallel.layout.empty()) {
    ConfigCheck("parallel")
        .refuse("layout", {.expected = "none beside parallel.layers_per_stage",
                           .found = fmt::format("\"{}\"", parallel.layout),
                           .remedy = "leave one of the two out"});
  }
  const std::vector<StageLayout> layout =
      is_listed ? listed_layout(model, parallel) : parse_layout(parallel.layout, model);
  if (layout.size() != static_cast<std::size_t>(stages)) {
    ConfigCheck("parallel")
        .refuse(is_listed ? "layers_per_stage" : "layout",
                {.expected = fmt::format("{} stages, which the schedule has", stages),
                 .found = fmt::format("{}", layout.size()),
                 .remedy = "change it, or the number of ranks or chunks"});
  }
  return layout;
}

}  // namespace dualpipe
