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

// A symbol of a layout, and where the text has it; copies have the place of what they repeat.
struct Symbol {
  char letter = '|';
  std::size_t place = 0;
};

[[noreturn]] void refuse_layout(std::string_view text, std::size_t place, const Refusal& refusal) {
  ConfigCheck("parallel")
      .refuse("layout", {.expected = fmt::format("{} at character {} of \"{}\"", refusal.expected,
                                                 place + 1, text),
                         .found = refusal.found,
                         .remedy = refusal.remedy});
}

// Writes the repetitions of a layout out: "Et*2|(t|)*2L" is "Ett|t|t|L".
class Expander {
 public:
  explicit Expander(std::string_view text) : text_(text) {}

  std::vector<Symbol> expand() {
    std::vector<Symbol> symbols = sequence(0);
    if (position_ < text_.size()) {
      refuse("no closing bracket without an opening one");
    }
    return symbols;
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    const std::string found =
        position_ < text_.size() ? fmt::format("'{}'", text_[position_]) : "the end";
    refuse_layout(text_, position_,
                  {.expected = expected,
                   .found = found,
                   .remedy = "write E t m L | for embedding, layer, prediction module, head and "
                             "the end of a stage, x*n and (..)*n for repetition"});
  }

  // Up to a closing bracket or the end.
  std::vector<Symbol> sequence(int depth) {  // NOLINT(misc-no-recursion): depth_max bounds it
    std::vector<Symbol> symbols;
    while (position_ < text_.size() && text_[position_] != ')') {
      const char letter = text_[position_];
      if (letter == ',' || letter == ' ') {
        ++position_;
        continue;
      }
      const std::vector<Symbol> once = unit(depth);
      for (int time = repetitions(); time > 0; --time) {
        symbols.insert(symbols.end(), once.begin(), once.end());
        if (symbols.size() > symbols_max) {
          refuse(fmt::format("no more than {} symbols in all", symbols_max));
        }
      }
    }
    return symbols;
  }

  // One symbol, or what is in one pair of brackets.
  std::vector<Symbol> unit(int depth) {  // NOLINT(misc-no-recursion)
    const char letter = text_[position_];
    if (letter != '(') {
      if (std::string_view("EtmL|").find(letter) == std::string_view::npos) {
        refuse("one of E t m L | ( )");
      }
      return {{.letter = letter, .place = position_++}};
    }
    if (depth == depth_max) {
      refuse(fmt::format("no more than {} brackets in one another", depth_max));
    }
    ++position_;
    std::vector<Symbol> symbols = sequence(depth + 1);
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

// One E, first, and one L, last. `held`, as below: what the stages have, without the ends of
// stages.
void check_ends(std::string_view text, const std::vector<Symbol>& held) {
  const Symbol first = held.empty() ? Symbol{.place = text.size()} : held.front();
  if (first.letter != 'E') {
    refuse_layout(text, first.place,
                  {.expected = "E, the embedding, first",
                   .found = held.empty() ? "the end" : fmt::format("'{}'", first.letter),
                   .remedy = "begin the first stage with it"});
  }
  for (std::size_t index = 1; index < held.size(); ++index) {
    const Symbol& symbol = held[index];
    if (symbol.letter == 'E') {
      refuse_layout(text, symbol.place,
                    {.expected = "no second E", .found = "one", .remedy = "take it out"});
    }
    if (held[index - 1].letter == 'L') {
      refuse_layout(text, symbol.place,
                    {.expected = "nothing after L, the output head",
                     .found = fmt::format("'{}'", symbol.letter),
                     .remedy = "take it out, or put it before the L"});
    }
  }
  if (held.back().letter != 'L') {
    refuse_layout(text, text.size(),
                  {.expected = "L, the output head,",
                   .found = "the end",
                   .remedy = "end the last stage with it"});
  }
}

// As many of a symbol as the model has. `what`: "layers".
void check_number(std::string_view text, const std::vector<Symbol>& held, char letter,
                  std::string_view what, int expected) {
  int found = 0;
  const Symbol* first_surplus = nullptr;
  for (const Symbol& symbol : held) {
    found += symbol.letter == letter ? 1 : 0;
    if (first_surplus == nullptr && found > expected) {
      first_surplus = &symbol;
    }
  }
  if (first_surplus != nullptr) {
    refuse_layout(text, first_surplus->place,
                  {.expected = fmt::format("no more than {} {}, one for each {} of the model,",
                                           expected, letter, what),
                   .found = fmt::format("the first of {} too many", found - expected),
                   .remedy = fmt::format("write {} in all", expected)});
  }
  if (found < expected) {
    refuse_layout(text, held.back().place,
                  {.expected = fmt::format("{} {}, one for each {} of the model, before the L",
                                           expected, letter, what),
                   .found = fmt::format("{}", found),
                   .remedy = fmt::format("add {}", expected - found)});
  }
}

void check_order(std::string_view text, const std::vector<Symbol>& held) {
  const auto module = std::ranges::find(held, 'm', &Symbol::letter);
  const auto layer =
      std::find_if(module, held.end(), [](const Symbol& symbol) { return symbol.letter == 't'; });
  if (layer != held.end()) {
    refuse_layout(
        text, layer->place,
        {.expected = "no layer (t) after a prediction module (m)",
         .found = "one",
         .remedy = fmt::format("put it before the m at character {}", module->place + 1)});
  }
}

[[noreturn]] void refuse_empty_stage(std::string_view text, std::size_t place, std::size_t stage) {
  refuse_layout(text, place,
                {.expected = fmt::format("something in stage {} before it ends", stage),
                 .found = "nothing",
                 .remedy = "take one | out"});
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
  const std::vector<Symbol> symbols = Expander(text).expand();
  std::vector<Symbol> held = symbols;
  std::erase_if(held, [](const Symbol& symbol) { return symbol.letter == '|'; });
  check_ends(text, held);
  check_number(text, held, 't', "layer", model.layers);
  check_number(text, held, 'm', "prediction module", model.mtp_layers);
  check_order(text, held);
  std::vector<StageLayout> stages(1);
  int next = 0;
  for (const Symbol& symbol : symbols) {
    StageLayout& stage = stages.back();
    if (symbol.letter == '|' && stage == StageLayout{}) {
      refuse_empty_stage(text, symbol.place, stages.size() - 1);
    }
    switch (symbol.letter) {
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
    refuse_empty_stage(text, text.size(), stages.size() - 1);
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
