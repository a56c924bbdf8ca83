// RunIdentity: what must be the same on all ranks of a job, and in a run that goes on from a
// checkpoint, as one hash per concern: so that ranks which would compute different things are told
// apart before anything runs, and by name.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/held_stage.h"
#include "runtime/watchdog.h"
#include "scheduler/program.h"

namespace dualpipe {

class RunIdentity {
 public:
  struct Concern {
    std::string name;  // "schedule", "model": as in "rank 2 has another <name>"
    std::uint64_t hash = 0;

    bool operator==(const Concern&) const = default;
  };

  void add(std::string name, std::span<const std::byte> bytes);
  void add(std::string name, std::string_view text);
  void add(Concern concern) { concerns_.push_back(std::move(concern)); }

  [[nodiscard]] std::span<const Concern> concerns() const { return concerns_; }
  // The names of the concerns that differ, or that only one of the two has, in order of `this`.
  [[nodiscard]] std::vector<std::string> differences(const RunIdentity& other) const;

 private:
  std::vector<Concern> concerns_;
};

// The concerns of both.
[[nodiscard]] RunIdentity together(RunIdentity identity, const RunIdentity& other);

// The concern "schedule": placement, directions and slots of all ranks.
void add_schedule(const Program& program, RunIdentity& identity);
// The concern "communication": messages, channels and every rank's instructions.
void add_communication(const Program& program, RunIdentity& identity);

// Compares every rank's identity with rank 0's; all ranks call it together, before the first step.
// Throws Error (usage), on rank 0, which says which ranks have another of what; the others learn of
// it by its abort.
void require_same_identity(const BoundedWait& waits, const RunIdentity& identity);

}  // namespace dualpipe
