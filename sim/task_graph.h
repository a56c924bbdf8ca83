// TaskGraph: a program flattened into one list of steps in an order in which everything that a step
// waits for comes before it. Timing it is then one loop over two arrays, without allocation, for
// whoever needs the times of one program under thousands of durations. The times are exactly those
// of simulate(): transfers are eager and links are not shared.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"

namespace dualpipe {

class TaskGraph {
 public:
  // Linear in the number of instructions. `program` is not needed afterwards.
  explicit TaskGraph(const Program& program);

  // Times of one run, for run() to write into.
  struct Times {
    std::vector<Time> ends;  // numbered as StepDurations::slots, then what engines wait for between
                             // slots, where the program's communication order asks for that
  };
  [[nodiscard]] Times times() const { return {.ends = std::vector<Time>(nodes_)}; }

  // When every slot ends. Safe to call from several threads, each with its own `times`.
  // Requires: `durations` are of this program, `times` is from times().
  void run(const StepDurations& durations, Times& times) const;

  // The last end: of a run, and of one of its ranks (0 for a rank without slots).
  [[nodiscard]] Time makespan(const Times& times) const;
  [[nodiscard]] Time last_end(const Times& times, int rank) const;

  // The slots, numbered as StepDurations::slots, each after all that it waits for.
  [[nodiscard]] std::vector<std::int32_t> topological_slots() const;
  // [rank], and the end: see dualpipe::first_slots().
  [[nodiscard]] std::span<const std::size_t> first_slots() const { return first_slots_; }

 private:
  static constexpr std::int32_t none = -1;

  // A slot; or a wait between two slots, which takes no time.
  struct Step {
    std::int32_t node = 0;         // in Times::ends
    std::int32_t previous = none;  // node before it on its rank
    std::int32_t messages = 0;     // that it waits for: the next so many of sources_
  };
  struct Source {
    std::int32_t node = 0;  // whose end sends the message
    std::int32_t message = 0;
  };
  class Builder;

  std::size_t nodes_ = 0;
  std::vector<std::size_t> first_slots_;
  std::vector<Step> steps_;
  std::vector<Source> sources_;
};

}  // namespace dualpipe
