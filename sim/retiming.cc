#include "sim/retiming.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/durations.h"
#include "sim/task_graph.h"

namespace dualpipe {
namespace {

constexpr std::int32_t bits_per_word = 64;

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

// One number for every value of a pipeline.
class PerValue {
 public:
  PerValue(const Pipeline& pipeline, std::int32_t initial)
      : microbatches_(at(pipeline.microbatches())),
        per_kind_(at(pipeline.stages()) * microbatches_),
        numbers_(3 * per_kind_, initial) {}

  [[nodiscard]] std::int32_t& of(const Value& value) {
    return numbers_[static_cast<std::size_t>(value.kind) * per_kind_ +
                    at(value.stage) * microbatches_ + at(value.microbatch)];
  }

 private:
  std::size_t microbatches_ = 0;
  std::size_t per_kind_ = 0;
  std::vector<std::int32_t> numbers_;
};

}  // namespace

Retiming::Retiming(const Program& program, const StepDurations& durations)
    : transfers_(durations.transfers) {
  CHECK(durations.transfers.size() == program.messages().size());
  transfers_.push_back(Time{});
  link(program);
  CHECK(durations.slots.size() == nodes_.size());
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    nodes_[index].duration = durations.slots[index];
  }
  number_by_time(program, durations);
  pending_.resize(nodes_.size() / bits_per_word + 1);
  seen_.resize(nodes_.size());
}

void Retiming::link(const Program& program) {
  const Pipeline& pipeline = program.pipeline();
  PerValue writer(pipeline, none);
  for (int rank = 0; rank < pipeline.ranks(); ++rank) {
    std::vector<std::int32_t>& order = order_.emplace_back();
    for (const Slot& slot : program.slots(rank)) {
      const std::int32_t index = static_cast<std::int32_t>(nodes_.size());
      nodes_.push_back({.rank = rank, .place = static_cast<std::int32_t>(order.size())});
      order.push_back(index);
      for (const Op& op : slot) {
        for (const Value& value : writes(op)) {
          writer.of(value) = index;
        }
      }
    }
  }
  const std::int32_t local = static_cast<std::int32_t>(program.messages().size());
  PerValue message_of(pipeline, local);
  for (std::int32_t message = 0; message < local; ++message) {
    message_of.of(program.message(message).value) = message;
  }
  for (std::int32_t index = 0; at(index) < nodes_.size(); ++index) {
    Node& reader = node(index);
    std::size_t count = 0;
    for (const Op& op : program.slots(reader.rank)[at(reader.place)]) {
      for (const Value& value : reads(op, pipeline.stages())) {
        const std::int32_t source = writer.of(value);
        const bool own = value.stage == op.stage;  // that copy never travels
        reader.inputs[count++] = {.node = source, .transfer = own ? local : message_of.of(value)};
        auto& outputs = node(source).outputs;
        *std::find(outputs.begin(), outputs.end(), none) = index;
      }
    }
  }
}

// By begin, and in the order of a topological pass where slots take no time: that is topological
// too, and keeps the numbers of neighbours on a rank close to each other.
void Retiming::number_by_time(const Program& program, const StepDurations& durations) {
  const TaskGraph graph(program);
  TaskGraph::Times times = graph.times();
  graph.run(durations, times);
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    nodes_[index].end = times.ends[index];
  }
  numbered_ = graph.topological_slots();
  for (std::int32_t number = 0; at(number) < numbered_.size(); ++number) {
    node(numbered_[at(number)]).number = number;
  }
  std::sort(numbered_.begin(), numbered_.end(), [&](std::int32_t left, std::int32_t right) {
    const auto key = [&](std::int32_t index) {
      return std::pair(node(index).end - node(index).duration, node(index).number);
    };
    return key(left) < key(right);
  });
  for (std::int32_t number = 0; at(number) < numbered_.size(); ++number) {
    node(numbered_[at(number)]).number = number;
  }
}

std::int32_t Retiming::at_place(int rank, std::int32_t place) const {
  const std::vector<std::int32_t>& order = order_[at(rank)];
  return place >= 0 && at(place) < order.size() ? order[at(place)] : none;
}

// Swapping turns the edge first -> second around. If no other path leads from the first to the
// second, the numbers between theirs are handed out anew (Pearce and Kelly, "A dynamic topological
// sort algorithm for directed acyclic graphs", 2006): what precedes the second goes before what
// follows the first.
bool Retiming::swap(int rank, int place) {
  const std::int32_t first = at_place(rank, place);
  const std::int32_t second = at_place(rank, place + 1);
  CHECK(first != none && second != none);
  after_.clear();
  before_.clear();
  const bool is_possible = collect_after(first, second);
  if (is_possible) {
    collect_before(first, second);
  }
  for (const std::int32_t index : after_) {
    seen_[at(index)] = false;
  }
  if (!is_possible) {
    return false;
  }
  changes_.push_back(
      {.rank = rank, .place = place, .ends = old_ends_.size(), .numbers = old_numbers_.size()});
  exchange(rank, place);
  renumber();
  set_pending(second);
  set_pending(first);
  set_pending(at_place(rank, place + 2));
  propagate(node(second).number);
  return true;
}

// Everything between the two that waits for the first. False if the second does.
bool Retiming::collect_after(std::int32_t first, std::int32_t second) {
  const std::int32_t last = node(second).number;
  bool is_reached = false;
  const auto visit = [&](std::int32_t index) {
    if (index == none || seen_[at(index)] || node(index).number > last) {
      return;
    }
    is_reached = is_reached || index == second;
    seen_[at(index)] = true;
    after_.push_back(index);
  };
  visit(first);
  for (std::size_t next = 0; next < after_.size() && !is_reached; ++next) {
    const Node& reached = node(after_[next]);
    for (const std::int32_t output : reached.outputs) {
      visit(output);
    }
    if (after_[next] != first) {
      visit(at_place(reached.rank, reached.place + 1));
    }
  }
  return !is_reached;
}

// Everything between the two that the second waits for.
void Retiming::collect_before(std::int32_t first, std::int32_t second) {
  const std::int32_t lowest = node(first).number;
  const auto visit = [&](std::int32_t index) {
    if (index == none || seen_[at(index)] || node(index).number <= lowest) {
      return;
    }
    seen_[at(index)] = true;
    before_.push_back(index);
  };
  visit(second);
  for (std::size_t next = 0; next < before_.size(); ++next) {
    const Node& reached = node(before_[next]);
    for (const Input& input : reached.inputs) {
      visit(input.node);
    }
    if (before_[next] != second) {
      visit(at_place(reached.rank, reached.place - 1));
    }
  }
  for (const std::int32_t index : before_) {
    seen_[at(index)] = false;
  }
}

void Retiming::renumber() {
  free_numbers_.clear();
  for (std::vector<std::int32_t>* nodes : {&before_, &after_}) {
    std::sort(nodes->begin(), nodes->end(), [&](std::int32_t left, std::int32_t right) {
      return node(left).number < node(right).number;
    });
    for (const std::int32_t index : *nodes) {
      old_numbers_.push_back({.node = index, .number = node(index).number});
      free_numbers_.push_back(node(index).number);
    }
  }
  std::sort(free_numbers_.begin(), free_numbers_.end());
  auto number = free_numbers_.begin();
  for (const std::vector<std::int32_t>* nodes : {&before_, &after_}) {
    for (const std::int32_t index : *nodes) {
      node(index).number = *number;
      numbered_[at(*number)] = index;
      ++number;
    }
  }
}

void Retiming::exchange(int rank, std::int32_t place) {
  std::vector<std::int32_t>& order = order_[at(rank)];
  std::swap(order[at(place)], order[at(place + 1)]);
  node(order[at(place)]).place = place;
  node(order[at(place + 1)]).place = place + 1;
}

void Retiming::set_pending(std::int32_t index) {
  if (index == none) {
    return;
  }
  const std::int32_t number = node(index).number;
  std::uint64_t& word = pending_[at(number / bits_per_word)];
  const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(number % bits_per_word);
  pending_count_ += (word & bit) == 0 ? 1 : 0;
  word |= bit;
}

Time Retiming::computed_end(const Node& due) const {
  const std::int32_t previous = at_place(due.rank, due.place - 1);
  Time begin = previous == none ? Time{} : node(previous).end;
  for (const Input& input : due.inputs) {
    if (input.node != none) {
      begin = std::max(begin, node(input.node).end + transfers_[at(input.transfer)]);
    }
  }
  return begin + due.duration;
}

// Computes what is pending, lowest number first, so that each is computed once; what waits for a
// time that has changed is pending in turn.
void Retiming::propagate(std::int32_t from) {
  for (std::size_t word = at(from / bits_per_word); pending_count_ > 0; ++word) {
    while (pending_[word] != 0) {
      const int bit = std::countr_zero(pending_[word]);
      pending_[word] &= pending_[word] - 1;
      --pending_count_;
      const std::int32_t index = numbered_[word * bits_per_word + at(bit)];
      Node& due = node(index);
      const Time end = computed_end(due);
      if (end == due.end) {
        continue;
      }
      old_ends_.push_back({.node = index, .end = due.end});
      due.end = end;
      for (const std::int32_t output : due.outputs) {
        set_pending(output);
      }
      set_pending(at_place(due.rank, due.place + 1));
    }
  }
}

void Retiming::undo() {
  CHECK(!changes_.empty());
  const Change change = changes_.back();
  changes_.pop_back();
  exchange(change.rank, change.place);
  for (; old_ends_.size() > change.ends; old_ends_.pop_back()) {
    node(old_ends_.back().node).end = old_ends_.back().end;
  }
  for (; old_numbers_.size() > change.numbers; old_numbers_.pop_back()) {
    const Moved& moved = old_numbers_.back();
    node(moved.node).number = moved.number;
    numbered_[at(moved.number)] = moved.node;
  }
}

void Retiming::keep() {
  changes_.clear();
  old_ends_.clear();
  old_numbers_.clear();
}

Time Retiming::makespan() const {
  Time latest{};
  for (const std::vector<std::int32_t>& order : order_) {
    if (!order.empty()) {
      latest = std::max(latest, node(order.back()).end);
    }
  }
  return latest;
}

int Retiming::slots(int rank) const {
  return static_cast<int>(order_[at(rank)].size());
}

Time Retiming::end(int rank, int place) const {
  CHECK(at_place(rank, place) != none);
  return node(at_place(rank, place)).end;
}

Time Retiming::begin(int rank, int place) const {
  return end(rank, place) - node(at_place(rank, place)).duration;
}

std::vector<int> Retiming::order(int rank) const {
  std::vector<int> slots = order_[at(rank)];
  const auto first = std::min_element(slots.begin(), slots.end());
  const int offset = first == slots.end() ? 0 : *first;
  for (int& slot : slots) {
    slot -= offset;
  }
  return slots;
}

}  // namespace dualpipe
