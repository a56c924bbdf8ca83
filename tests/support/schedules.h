// Schedules of the tests, as text.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// Any of the three forms; it must be readable.
[[nodiscard]] Schedule written(std::string_view text);

// "0F0 0F1 0B0".
[[nodiscard]] std::vector<Slot> slots_of(std::string_view text);

// The content of a file of tests/golden.
[[nodiscard]] std::string golden(const std::string& name);

// The family's reference implementation: its own groups of sends and receives, on one communicator.
[[nodiscard]] Program reference_program(const Family& family, const Shape& shape);

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
