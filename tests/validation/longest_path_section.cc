#include <random>
#include <string>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/longest_path.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/validation/sections.h"

namespace dualpipe {

std::string longest_path_section() {
  constexpr unsigned schedules = 2000;
  int different = 0;
  for (unsigned seed = 0; seed < schedules; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 6, .stages = 8, .microbatches = 8});
    const CostModel costs = random_costs(random, schedule.pipeline.stages());
    const bool is_equal =
        simulate(compile_or_throw(schedule, eager), costs).ranks == longest_path(schedule, costs);
    different += is_equal ? 0 : 1;
  }
  return fmt::format(
      "## The naive longest path\n\n"
      "A second simulator, made from the definition of a schedule alone (`tests/support/"
      "longest_path.cc`): an explicit graph that is\nrelaxed until nothing changes. Random "
      "placements of one or two directions, random orders with halves, whole backwards and\n"
      "overlapped pairs, costs of its own for every stage. For this page {} schedules were "
      "compared, begin and end of every slot;\n**{}** of them differ. Tests compare every "
      "family on every small shape besides.\n",
      schedules, different);
}

}  // namespace dualpipe
