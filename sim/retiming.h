// Retiming: the times of a schedule whose order is being changed, two neighbouring slots of a rank
// at a time. Only what a swap delays or lets begin earlier is computed again, and a swap can be
// taken back. For whoever looks for a better order.
//
// The times are those of simulate() for the program that compile() derives from the changed
// schedule: eager transfers, links not shared. Whether the two ends of every channel still agree on
// its order, and whether buffers suffice, is compile()'s to judge.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/durations.h"

namespace dualpipe {

class Retiming {
 public:
  // Linear in the number of slots, but for sorting them by time. Slots keep their durations and
  // values their transfer times when they move. Requires: `durations` are of this program.
  Retiming(const Program& program, const StepDurations& durations);

  // Swaps the slots at `place` and `place` + 1 of a rank's order. False, and nothing changes, where
  // the later of them depends on the earlier one: directly, or around through other ranks.
  // Requires: both places exist.
  bool swap(int rank, int place);
  // Takes back the last swap that has been neither taken back nor kept. Requires: there is one.
  void undo();
  // From here on, swaps made so far cannot be taken back, and their notes take no memory.
  void keep();

  [[nodiscard]] Time makespan() const;
  [[nodiscard]] int slots(int rank) const;
  [[nodiscard]] Time begin(int rank, int place) const;
  [[nodiscard]] Time end(int rank, int place) const;
  // The slots of a rank in their order now, by their index in the program's.
  [[nodiscard]] std::vector<int> order(int rank) const;

 private:
  static constexpr std::int32_t none = -1;

  struct Input {
    std::int32_t node = none;
    std::int32_t transfer = 0;  // index of its time: the message; or the last, which is 0
  };
  struct Node {
    Time duration{};
    Time end{};
    std::int32_t rank = 0;
    std::int32_t place = 0;                                 // in the rank's order
    std::int32_t number = 0;                                // in numbered_
    std::array<Input, 3> inputs{};                          // nodes that write what it reads
    std::array<std::int32_t, 3> outputs{none, none, none};  // nodes that read what it writes
  };
  struct Old {
    std::int32_t node = 0;
    Time end{};
  };
  struct Moved {
    std::int32_t node = 0;
    std::int32_t number = 0;
  };
  struct Change {  // a swap, and where its notes begin
    std::int32_t rank = 0;
    std::int32_t place = 0;
    std::size_t ends = 0;
    std::size_t numbers = 0;
  };

  void link(const Program& program);
  void number_by_time(const Program& program, const StepDurations& durations);
  [[nodiscard]] Node& node(std::int32_t index) { return nodes_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] const Node& node(std::int32_t index) const {
    return nodes_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] std::int32_t at_place(int rank, std::int32_t place) const;
  bool collect_after(std::int32_t first, std::int32_t second);
  void collect_before(std::int32_t first, std::int32_t second);
  void renumber();
  void exchange(int rank, std::int32_t place);
  void set_pending(std::int32_t index);
  [[nodiscard]] Time computed_end(const Node& due) const;
  void propagate(std::int32_t from);

  std::vector<Node> nodes_;                       // rank after rank, in the program's order
  std::vector<Time> transfers_;                   // [message], and 0 at the end
  std::vector<std::vector<std::int32_t>> order_;  // [rank][place]: node
  std::vector<std::int32_t> numbered_;  // nodes so that each comes after all that it waits for
  std::vector<std::uint64_t> pending_;  // a bit per number: its time is to be computed again
  std::size_t pending_count_ = 0;
  std::vector<Change> changes_;
  std::vector<Old> old_ends_;
  std::vector<Moved> old_numbers_;
  // While a swap is made: what follows the first slot, what precedes the second, by number.
  std::vector<std::int32_t> after_;
  std::vector<std::int32_t> before_;
  std::vector<std::int32_t> free_numbers_;  // those of both
  std::vector<bool> seen_;                  // [node]
};

}  // namespace dualpipe
