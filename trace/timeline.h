// Timeline: what happened in one step - which slot ran on which rank from when to when, and which
// message travelled. The simulator and the runtime both return one, so prediction and measurement
// can be laid over each other; every metric and every picture takes one.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

struct Span {
  Slot slot;
  Time begin{};  // since the beginning of the step
  Time end{};

  [[nodiscard]] Time duration() const { return end - begin; }
  bool operator==(const Span&) const = default;
};

struct Transfer {
  Value value;
  int source = 0;
  int destination = 0;
  Time begin{};  // predicted: when the sender is done; measured: when the send was posted
  Time end{};    // when the receiver has it

  bool operator==(const Transfer&) const = default;
};

struct Timeline {
  Pipeline pipeline;
  std::vector<std::vector<Span>> ranks;  // [rank], in the order of execution; spans do not overlap
  std::vector<Transfer> transfers;       // channel after channel, as in Program; may be empty
  std::vector<StageBytes> stage_bytes;   // [stage]

  bool operator==(const Timeline&) const = default;
};

// The last end minus the first begin, over all ranks; zero when nothing ran.
[[nodiscard]] Time makespan(const Timeline& timeline);

// The order of the slots, without the times.
[[nodiscard]] Schedule schedule_of(const Timeline& timeline);

// docs/formats.md describes the form. Written and read back exactly.
[[nodiscard]] std::string to_json(const Timeline& timeline);

// Throws Error (invalid_schedule) with origin, key and what was expected.
[[nodiscard]] Timeline parse_timeline(std::string_view text, const std::string& origin);

// Whether a document is a timeline (rather than a schedule), told by its content.
[[nodiscard]] bool is_timeline(std::string_view text);

}  // namespace dualpipe
