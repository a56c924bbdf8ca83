#include "scheduler/lowered.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/infer.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text_line.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

using Step = CommunicationStep::Kind;

constexpr std::array<std::string_view, 4> communications{"SEND_F", "RECV_F", "SEND_B", "RECV_B"};
constexpr std::string_view reduction = "REDUCE_GRAD";

// "12SEND_F3": a number, a word, and where it has one another number.
struct Cell {
  int stage = 0;
  std::string_view word;
  std::optional<int> microbatch;
};

// The number that a text begins with, if any, which is then taken off it.
std::optional<int> take_number(std::string_view& text) {
  const std::size_t size = std::min(text.find_first_not_of("0123456789"), text.size());
  int number = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.begin() + size, number);
  if (error != std::errc{}) {
    return std::nullopt;
  }
  text.remove_prefix(size);
  return number;
}

std::optional<Cell> parse_cell(std::string_view text) {
  const std::optional<int> stage = take_number(text);
  if (!stage) {
    return std::nullopt;
  }
  const std::size_t word_end = std::min(text.find_first_of("0123456789"), text.size());
  Cell cell{.stage = *stage, .word = text.substr(0, word_end), .microbatch = {}};
  text.remove_prefix(word_end);
  if (!text.empty()) {
    cell.microbatch = take_number(text);
    if (!cell.microbatch || !text.empty()) {
      return std::nullopt;
    }
  }
  return cell;
}

bool is_communication(const Cell& cell) {
  return cell.microbatch &&
         std::find(communications.begin(), communications.end(), cell.word) != communications.end();
}

bool is_reduction(const Cell& cell) {
  return !cell.microbatch && cell.word == reduction;
}

CommunicationStep step_of(const Cell& cell, int microbatch) {
  const bool sends = cell.word.starts_with('S');
  const bool forward = cell.word.ends_with('F');
  const int writer = sends ? cell.stage : forward ? cell.stage - 1 : cell.stage + 1;
  return {
      .kind = sends ? Step::send : Step::receive,
      .value = {forward ? ValueKind::activation : ValueKind::input_gradient, writer, microbatch}};
}

// The stage whose rank has the cell.
int stage_of(const CommunicationStep& step) {
  if (step.kind == Step::send) {
    return step.value.stage;
  }
  return step.value.kind == ValueKind::activation ? step.value.stage + 1 : step.value.stage - 1;
}

std::string to_cell(const CommunicationStep& step) {
  return fmt::format("{}{}_{}{}", stage_of(step), step.kind == Step::send ? "SEND" : "RECV",
                     step.value.kind == ValueKind::activation ? 'F' : 'B', step.value.microbatch);
}

class Parser {
 public:
  explicit Parser(const std::string& origin) : origin_(origin) {}

  LoweredSchedule parse(std::string_view text) {
    for_each_line(text, origin_, [&](const Line& line) {
      lowered_.schedule.ranks.emplace_back();
      lowered_.communication.emplace_back();
      parse_row(line);
    });
    lowered_.schedule.pipeline = infer_pipeline(lowered_.schedule.ranks, origin_);
    return std::move(lowered_);
  }

 private:
  void parse_row(const Line& line) {
    std::size_t begin = 0;
    while (begin < line.text.size()) {
      const std::size_t end = std::min(line.text.find(',', begin), line.text.size());
      parse_cell_at(line, begin, end);
      begin = end + 1;
    }
    if (line.text.ends_with(',')) {
      refuse_empty(line, line.text.size());
    }
  }

  [[noreturn]] static void refuse_empty(const Line& line, std::size_t column) {
    line.refuse(column,
                "an empty cell; expected none where communication is written out (an idle "
                "slot has no meaning there)");
  }

  void parse_cell_at(const Line& line, std::size_t begin, std::size_t end) {
    const std::string_view text = trimmed(line.text.substr(begin, end - begin));
    if (text.empty()) {
      refuse_empty(line, begin);
    }
    line.require_text(text, begin);
    std::vector<Slot>& slots = lowered_.schedule.ranks.back();
    const std::optional<Cell> cell = parse_cell(text);
    if (cell && cell->microbatch && is_communication(*cell)) {
      lowered_.communication.back().push_back(step_of(*cell, *cell->microbatch));
    } else if (cell && is_reduction(*cell)) {
      const RankSlot place{.rank = static_cast<int>(lowered_.schedule.ranks.size()) - 1,
                           .slot = static_cast<int>(slots.size())};
      lowered_.reductions.push_back({.stage = cell->stage, .place = place});
    } else if (!is_sharding(text)) {
      try {
        slots.push_back(parse_slot(text));
      } catch (const Error& error) {
        line.refuse(begin, std::string(error.what()) +
                               ", or one of SEND_F, RECV_F, SEND_B, RECV_B with a microbatch, or "
                               "REDUCE_GRAD, UNSHARD, RESHARD without");
      }
      lowered_.communication.back().push_back({.kind = Step::run, .value = {}});
    }
  }

  static std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    return first == std::string_view::npos
               ? ""
               : text.substr(first, text.find_last_not_of(" \t") - first + 1);
  }

  const std::string& origin_;
  LoweredSchedule lowered_;
};

// What a compilation of the schedule and its communication does not look at.
class LoweredCheck {
 public:
  LoweredCheck(const LoweredSchedule& lowered, Violations& violations)
      : lowered_(lowered), pipeline_(lowered.schedule.pipeline), violations_(violations) {}

  // False if any names what is not there.
  bool check_range() {
    bool in_range = true;
    for_each_step([&](const CommunicationStep& step, const RankSlot& place) {
      if (step.value.microbatch >= pipeline_.microbatches() || stage_of(step) >= stages()) {
        add(Violation::Kind::shape, place,
            fmt::format("{} is outside the schedule's {} stages and {} microbatches", to_cell(step),
                        stages(), pipeline_.microbatches()));
        in_range = false;
      }
    });
    for (const LoweredSchedule::Reduction& reduced : lowered_.reductions) {
      if (reduced.stage >= stages()) {
        add(Violation::Kind::shape, reduced.place,
            fmt::format("{}REDUCE_GRAD is outside the schedule's {} stages", reduced.stage,
                        stages()));
        in_range = false;
      }
    }
    return in_range;
  }

  // Requires: check_range() has returned true.
  void check_communication() {
    const bool inference = is_forward_only(lowered_.schedule);
    for_each_step([&](const CommunicationStep& step, const RankSlot& place) {
      const Value& value = step.value;
      if (inference && value.kind == ValueKind::input_gradient) {
        add(Violation::Kind::message, place,
            fmt::format("{}: there is no backward to write that gradient", to_cell(step)));
        return;
      }
      const bool inside = value.stage >= 0 && value.stage < stages();
      const int other = step.kind == Step::send ? inside ? receiving_stage(value, stages()) : -1
                        : inside                ? value.stage
                                                : -1;
      if (other < 0) {
        add(Violation::Kind::message, place,
            fmt::format("{}: stage {} has no neighbour on that side", to_cell(step),
                        stage_of(step)));
      } else if (pipeline_.rank_of(other, value.microbatch) ==
                 pipeline_.rank_of(stage_of(step), value.microbatch)) {
        add(Violation::Kind::message, place,
            fmt::format("{}: stage {} is on rank {} too and needs no message", to_cell(step), other,
                        pipeline_.rank_of(other, value.microbatch)));
      }
    });
  }

  // PyTorch lets go of a forward's output in its backward, sent or not.
  void check_sends_of_outputs() {
    for (std::size_t rank = 0; rank < lowered_.communication.size(); ++rank) {
      std::vector<Op> ended(at(stages()) * at(pipeline_.microbatches()), Op{-1});
      const auto ended_by = [&](int stage, int microbatch) -> Op& {
        return ended[at(stage) * at(pipeline_.microbatches()) + at(microbatch)];
      };
      int slot = 0;
      for (const CommunicationStep& step : lowered_.communication[rank]) {
        if (step.kind == Step::run) {
          const Op& op = lowered_.schedule.ranks[rank][at(slot++)].back();
          if (op.kind == OpKind::backward || op.kind == OpKind::backward_input) {
            ended_by(op.stage, op.microbatch) = op;
          }
        } else if (step.kind == Step::send && step.value.kind == ValueKind::activation) {
          const Op& backward = ended_by(step.value.stage, step.value.microbatch);
          if (backward.stage >= 0) {
            add(Violation::Kind::order, {static_cast<int>(rank), slot - 1},
                fmt::format("{} comes after {}, which frees what it sends", to_cell(step),
                            to_string(backward)));
          }
        }
      }
    }
  }

  void check_reductions() {
    std::set<std::pair<int, int>> reduced;  // rank, stage: every replica has its own
    for (const LoweredSchedule::Reduction& one : lowered_.reductions) {
      const std::vector<Slot>& slots = lowered_.schedule.ranks[at(one.place.rank)];
      const auto after =
          std::find_if(slots.begin() + one.place.slot, slots.end(), [&](const Slot& slot) {
            return slot.back().stage == one.stage && slot.back().kind != OpKind::forward;
          });
      if (!reduced.emplace(one.place.rank, one.stage).second) {
        add(Violation::Kind::duplicate, one.place,
            fmt::format("{}REDUCE_GRAD is there a second time", one.stage));
      } else if (after != slots.end()) {
        add(Violation::Kind::order, one.place,
            fmt::format("{}REDUCE_GRAD comes before {}, whose gradients it leaves out", one.stage,
                        to_string(after->back())));
      } else if (std::none_of(slots.begin(), slots.end(),
                              [&](const Slot& slot) { return slot.back().stage == one.stage; })) {
        add(Violation::Kind::placement, one.place,
            fmt::format("{}REDUCE_GRAD is on rank {}, which has no op of that stage", one.stage,
                        one.place.rank));
      }
    }
  }

  void warn_of_missing_reductions(std::vector<std::string>& warnings) const {
    const Placement& placement = pipeline_.placement;
    std::set<int> missing;
    for (const std::vector<int>& rank_of_stage : placement.rank_of_stage) {
      for (int stage = 0; stage < stages(); ++stage) {
        if (std::none_of(lowered_.reductions.begin(), lowered_.reductions.end(),
                         [&](const auto& one) {
                           return one.stage == stage && one.place.rank == rank_of_stage[at(stage)];
                         })) {
          missing.insert(stage);
        }
      }
    }
    if (!missing.empty() && !is_forward_only(lowered_.schedule)) {
      warnings.push_back(fmt::format(
          "no REDUCE_GRAD for stage{} {}: from PyTorch 2.10 on the gradients come out {} times too "
          "large",
          missing.size() == 1 ? "" : "s", fmt::join(missing, ", "), pipeline_.microbatches()));
    }
  }

 private:
  static std::size_t at(int index) { return static_cast<std::size_t>(index); }
  [[nodiscard]] int stages() const { return pipeline_.stages(); }

  void add(Violation::Kind kind, const RankSlot& place, std::string message) {
    const int last = static_cast<int>(lowered_.schedule.ranks[at(place.rank)].size()) - 1;
    violations_.add({.kind = kind,
                     .rank = place.rank,
                     .slot = std::min(place.slot, last),
                     .message = std::move(message)});
  }

  // Calls visit(step, the slot that comes next) for every send and receive.
  template <typename Visit>
  void for_each_step(const Visit& visit) const {
    for (std::size_t rank = 0; rank < lowered_.communication.size(); ++rank) {
      RankSlot place{.rank = static_cast<int>(rank), .slot = 0};
      for (const CommunicationStep& step : lowered_.communication[rank]) {
        if (step.kind == Step::run) {
          ++place.slot;
        } else {
          visit(step, place);
        }
      }
    }
  }

  const LoweredSchedule& lowered_;
  const Pipeline& pipeline_;
  Violations& violations_;
};

}  // namespace

bool is_lowered_cell(std::string_view cell) {
  const std::optional<Cell> parsed = parse_cell(cell);
  return parsed && (is_communication(*parsed) || is_reduction(*parsed));
}

bool is_sharding(std::string_view cell) {
  const std::optional<Cell> parsed = parse_cell(cell);
  return parsed && !parsed->microbatch && (parsed->word == "UNSHARD" || parsed->word == "RESHARD");
}

bool is_lowered(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] < '0' || text[first] > '9') {
    return false;  // JSON, or text with headers, or an overlapped pair or nothing at all
  }
  return text.find(reduction) != std::string_view::npos ||
         std::any_of(communications.begin(), communications.end(), [&](std::string_view word) {
           return text.find(word) != std::string_view::npos;
         });
}

LoweredSchedule parse_lowered(std::string_view text, const std::string& origin) {
  return Parser(origin).parse(text);
}

Compilation compile(const LoweredSchedule& lowered, Topology topology, int buffering) {
  Violations violations;
  LoweredCheck check(lowered, violations);
  Compilation compilation;
  if (check.check_range()) {
    check.check_communication();
    check.check_sends_of_outputs();
    check.check_reductions();
    const TransportSemantics semantics{.topology = topology,
                                       .grouped = false,
                                       .receives_ahead = 0,
                                       .send_slots = unlimited,
                                       .buffering = buffering};
    compilation = compile(lowered.schedule, semantics, lowered.communication);
    check.warn_of_missing_reductions(compilation.warnings);
  }
  if (!violations.empty()) {
    compilation.program.reset();
  }
  compilation.omitted += violations.omitted();
  std::vector<Violation> own = violations.take();
  compilation.violations.insert(compilation.violations.begin(), own.begin(), own.end());
  return compilation;
}

}  // namespace dualpipe
