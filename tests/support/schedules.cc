#include "tests/support/schedules.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"

namespace dualpipe {

Schedule written(std::string_view text) {
  return parse_schedule(text, "test");
}

std::vector<Slot> slots_of(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::vector<Slot> slots;
  for (std::string word; words >> word;) {
    slots.push_back(parse_slot(word));
  }
  return slots;
}

std::string golden(const std::string& name) {
  return read_file(std::string(TESTS_DIR) + "/golden/" + name);
}

Program reference_program(const Family& family, const Shape& shape) {
  Compilation compilation =
      compile(generate(family, shape), grouped_world, family.reference_communication(shape));
  if (!compilation.program) {
    throw std::runtime_error(compilation.violations.front().message);
  }
  return std::move(*compilation.program);
}

Schedule quickly_generated(const Family& family, const Shape& shape) {
  constexpr Time each = std::chrono::milliseconds(1);
  constexpr StageCosts stage{
      .forward = each, .backward_input = each, .backward_weight = each, .overlapped = 3 * each};
  const std::size_t stages = static_cast<std::size_t>(family.placement(shape).stages());
  return generate(family, shape,
                  {.costs = {.stages = std::vector<StageCosts>(stages, stage), .p2p = {}},
                   .memory = std::nullopt,
                   .effort = little_effort});
}

std::vector<Shape> supported_shapes(const Family& family, const ShapeBounds& bounds) {
  std::vector<Shape> shapes;
  const int chunks_max = has_chunks(family) ? bounds.chunks : 1;
  for (int ranks = 1; ranks <= bounds.ranks; ++ranks) {
    for (int microbatches = 1; microbatches <= bounds.microbatches; ++microbatches) {
      for (int chunks = 1; chunks <= chunks_max; ++chunks) {
        const Shape shape{.ranks = ranks, .microbatches = microbatches, .chunks = chunks};
        if (family.supports(shape)) {
          shapes.push_back(shape);
        }
      }
    }
  }
  return shapes;
}

std::string to_string(const Family& family, const Shape& shape) {
  return std::string(family.name) + ", " + std::to_string(shape.ranks) + " ranks, " +
         std::to_string(shape.microbatches) + " microbatches, " + std::to_string(shape.chunks) +
         " chunks";
}

bool has_chunks(const Family& family) {
  const auto stages = [&](int chunks) {
    return family.placement({.ranks = 4, .microbatches = 8, .chunks = chunks}).stages();
  };
  return stages(2) != stages(4);
}

}  // namespace dualpipe
