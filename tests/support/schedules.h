// Schedules of the tests, as text.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// Enough buffers for every schedule of the tests: what transports do that never make a sender wait,
// and what simulate() assumes. Looped schedules need more than the default where a rank is done
// with a chunk long before its neighbour turns to the next.
inline constexpr TransportSemantics eager{.receives_ahead = 100, .send_slots = 100};

// Any of the three forms; it must be readable.
[[nodiscard]] Schedule written(std::string_view text);

// "0F0 0F1 0B0".
[[nodiscard]] std::vector<Slot> slots_of(std::string_view text);

// The content of a file of tests/golden.
[[nodiscard]] std::string golden(const std::string& name);

// The family's reference implementation: its own groups of sends and receives, on one communicator.
[[nodiscard]] Program reference_program(const Family& family, const Shape& shape);

// Ops timed by a search, of the 30 million that Target allows by default.
inline constexpr std::int64_t little_effort = 1000;

// As generate(), for ops of one millisecond each, but with little effort where the family searches:
// for tests of many shapes that any schedule of the family may take.
[[nodiscard]] Schedule quickly_generated(const Family& family, const Shape& shape);

// Every shape that the family supports, within these bounds, ordered by ranks, microbatches,
// chunks.
struct ShapeBounds {
  int ranks = 1;
  int microbatches = 1;
  int chunks = 1;
};
[[nodiscard]] std::vector<Shape> supported_shapes(const Family& family, const ShapeBounds& bounds);

// "dualpipe, 4 ranks, 8 microbatches, 1 chunks", for messages.
[[nodiscard]] std::string to_string(const Family& family, const Shape& shape);

// Whether a family looks at Shape::chunks at all.
[[nodiscard]] bool has_chunks(const Family& family);

}  // namespace dualpipe
