// Timeline: what happened in one step - which slot ran on which rank from when to when, and which
// message travelled. The simulator and the runtime both return one, so prediction and measurement
// can be laid over each other; every metric and every picture takes one.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
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
  Time begin{};            // predicted: when the sender is done; measured: when the send was posted
  Time end{};              // when the receiver has it
  std::int64_t bytes = 0;  // of the payload; 0 where the timeline does not know

  bool operator==(const Transfer&) const = default;
};

// What a rank does for a stage after the step's last weight gradient; see StageTail. A wait for the
// gradient norm is no stage's.
enum class TailKind : std::uint8_t {
  replica_reduce,
  gradient_reduce,
  gradient_norm,
  optimizer,
  parameter_gather,
};
inline constexpr std::array<std::string_view, 5> tail_kinds{
    "replica_reduce", "gradient_reduce", "gradient_norm", "optimizer", "parameter_gather"};
[[nodiscard]] constexpr std::string_view to_string(TailKind kind) {
  return tail_kinds[static_cast<std::size_t>(kind)];
}

// Only the optimizer computes; the others are communication, which may run beside slots.
struct TailSpan {
  TailKind kind = TailKind::optimizer;
  int rank = 0;
  int stage = 0;
  Time begin{};
  Time end{};

  bool operator==(const TailSpan&) const = default;
};

// How the times of a measured timeline came to be on one clock, rank 0's.
struct RankClock {
  Time offset{};       // at the run's begin: what was added to the rank's own times
  Time drift{};        // how much more it was at the run's end; in between, in proportion
  Time uncertainty{};  // the offset is known to this, either way

  bool operator==(const RankClock&) const = default;
};

struct Timeline {
  Pipeline pipeline;
  std::vector<std::vector<Span>> ranks;  // [rank], in the order of execution; spans do not overlap
  std::vector<Transfer> transfers;       // channel after channel, as in Program; may be empty
  std::vector<StageBytes> stage_bytes;   // [stage]
  std::vector<TailSpan> tail = {};       // rank after rank, by begin; empty where steps have none
  std::vector<RankClock> clocks = {};    // [rank]; empty where nothing was measured

  bool operator==(const Timeline&) const = default;
};

// The last end, of slots or of the tail, minus the first begin, over all ranks; zero when nothing
// ran.
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
