#include <chrono>
#include <cstddef>
#include <ratio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "sim/events.h"
#include "sim/network.h"
#include "tests/support/simulated.h"
#include "tests/validation/figures.h"
#include "tests/validation/sections.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Reference {
  Shape shape;
  NetworkModel::Mode mode;
  double step_time = 0.0;  // ms
};

double step_milliseconds(const Reference& reference) {
  using std::chrono::milliseconds;
  const CostModel costs = equal_costs(reference.shape.ranks,
                                      {.forward = milliseconds(1),
                                       .backward_input = milliseconds(1),
                                       .backward_weight = milliseconds(1)},
                                      std::chrono::microseconds(100));
  const Compilation compilation =
      compile_for(reference.mode, generate(find_family("1f1b"), reference.shape));
  if (!compilation.program) {
    throw std::runtime_error("1f1b: " + compilation.violations.front().message);
  }
  return std::chrono::duration<double, std::milli>(
             makespan(simulate_events(*compilation.program, costs, {.mode = reference.mode})))
      .count();
}

}  // namespace

std::string one_f_one_b_section() {
  using Mode = NetworkModel::Mode;
  const std::vector<Reference> references{{{8, 32}, Mode::eager, 123.8},
                                          {{8, 32}, Mode::rendezvous, 124.5},
                                          {{16, 256}, Mode::eager, 863.8},
                                          {{64, 1024}, Mode::eager, 3475.0},
                                          {{256, 1024}, Mode::eager, 4091.8}};
  FigureTable table{.labels = {"P x M", "transfers"}, .published = "SimGrid"};
  for (const Reference& reference : references) {
    table.figures.push_back(
        {.labels = {fmt::format("{} x {}", reference.shape.ranks, reference.shape.microbatches),
                    std::string(network_modes[static_cast<std::size_t>(reference.mode)])},
         .published = reference.step_time,
         .ours = step_milliseconds(reference),
         .decimals = {.published = 1, .ours = 1}});
  }
  return "## 1F1B with transfers\n\n"
         "Step times for F = 1, B = 2 and a latency of 0.1 per transfer. The other side was worked "
         "out "
         "with SimGrid, a simulator of\ndistributed systems that shares no code with this one "
         "(Casanova et al., \"Versatile, scalable, and accurate simulation of\ndistributed "
         "applications and platforms\", JPDC 2014). For eager transfers (M+P-1)(F+B) + "
         "2c((P-1)(M/P+1)-1) gives the same.\n\n" +
         markdown(table);
}

}  // namespace dualpipe
