// The cost-aware families, and those with a fixed order that have a reference, against what the
// reference schedulers make of the same shapes and costs: no slower in either time, and no more
// memory. One tick of the golden file is a microsecond here.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

// What a reference counts as memory, and so what it can be compared in.
enum class Memory : std::uint8_t {
  activations,  // whole, until the weight half is done
  halves,       // an activation is half of one from the end of its input half on
  given,        // whole; it is given a limit, and so are we
  none,         // it keeps whole activations under a limit on halves, we count in halves
};

struct Reference {
  std::string_view name;
  std::string_view family;
  Memory memory = Memory::activations;
  std::int64_t effort = 300'000;
};

constexpr std::array<Reference, 13> references{{
    {.name = "zbv", .family = "zb-v", .effort = 5'000'000},
    {.name = "vhalf", .family = "v-half", .effort = 6'000'000},
    {.name = "vmin", .family = "v-min", .effort = 5'000'000},
    {.name = "v_adaptive_1of2", .family = "zb-v", .memory = Memory::given, .effort = 4'000'000},
    {.name = "v_adaptive_2of3", .family = "zb-v", .memory = Memory::given, .effort = 4'000'000},
    {.name = "zb_auto_half_1p", .family = "zb-1p"},
    {.name = "zb_auto_rw_1p", .family = "zb-1p"},
    {.name = "zb_auto_half_2p", .family = "zb-2p", .memory = Memory::halves, .effort = 2'000'000},
    {.name = "zb_auto_rw_2p", .family = "zb-2p", .memory = Memory::none, .effort = 2'000'000},
    {.name = "gis2_gp", .family = "gis"},
    {.name = "gis4_gp", .family = "gis"},
    {.name = "gis2_gh", .family = "gis-h"},
    {.name = "1f1bv", .family = "1f1b-v"},
}};

struct Row {
  Shape shape;
  Time makespan{};
  Time longest_rank_time{};
  int peak_activations = 0;
};

Time ticks(const nlohmann::json& number) {
  return std::chrono::microseconds(number.get<std::int64_t>());
}

const nlohmann::json& document() {
  static const nlohmann::json numbers = nlohmann::json::parse(golden("reference_numbers.json"));
  return numbers;
}

std::vector<Row> rows_of(std::string_view reference, std::string_view costs) {
  std::vector<Row> rows;
  for (const nlohmann::json& row : document().at("rows")) {
    if (row.at("reference") == reference && row.at("costs") == costs) {
      rows.push_back({.shape = {.ranks = row.at("ranks"),
                                .microbatches = row.at("microbatches"),
                                .chunks = row.at("chunks")},
                      .makespan = ticks(row.at("makespan")),
                      .longest_rank_time = ticks(row.at("longest_rank_time")),
                      .peak_activations = row.at("peak_activations")});
    }
  }
  return rows;
}

CostModel costs_of(const std::string& name, int stages) {
  const nlohmann::json& costs = document().at("costs").at(name);
  StageCosts stage{.forward = ticks(costs.at("F")),
                   .backward_input = ticks(costs.at("B")),
                   .backward_weight = ticks(costs.at("W"))};
  stage.overlapped = stage.forward + stage.backward();
  return equal_costs(stages, stage, ticks(costs.at("comm")));
}

void expect_memory(const Schedule& schedule, const Row& row, Memory memory) {
  const std::size_t stages = static_cast<std::size_t>(schedule.pipeline.stages());
  const std::vector<StageBytes> halves(stages, {.activation = 2, .weight_operands = 1});
  // Both were given 2P of them, in halves; that the reference does not always use up all is no
  // merit.
  const std::int64_t given = 4 * std::int64_t{row.shape.ranks};
  const MemoryLimit limit = memory == Memory::halves
                                ? MemoryLimit{.amount = given, .unit = MemoryLimit::Unit::bytes}
                                : MemoryLimit{.amount = row.peak_activations};
  for (const MemoryExcess& excess : find_excesses(schedule, halves, limit)) {
    ADD_FAILURE() << "rank " << excess.rank << " keeps " << excess.peak << " of " << limit.amount;
  }
}

struct Case {
  Reference reference;
  std::string costs;
};

// How gtest prints a case.
std::ostream& operator<<(std::ostream& out, const Case& one) {
  return out << one.reference.name << " " << one.costs;
}

class ReferenceNumbers : public testing::TestWithParam<Case> {};

TEST_P(ReferenceNumbers, AreReachedOrBeatenAtNoMoreMemory) {
  const auto& [reference, costs_name] = GetParam();
  const Family& family = find_family(reference.family);
  const std::vector<Row> rows = rows_of(reference.name, costs_name);
  ASSERT_GE(rows.size(), 5U);
  for (const Row& row : rows) {
    SCOPED_TRACE(to_string(family, row.shape));
    const CostModel costs = costs_of(costs_name, family.placement(row.shape).stages());
    Target target{.costs = costs, .memory = std::nullopt, .effort = reference.effort};
    if (reference.memory == Memory::given) {
      target.memory = MemoryLimit{.amount = row.peak_activations};
    }
    const Schedule schedule = generate(family, row.shape, target);
    const Metrics metrics = measure(simulate(compile_or_throw(schedule, eager), costs));
    EXPECT_LE(metrics.step_time, row.makespan);
    EXPECT_LE(metrics.longest_rank_time, row.longest_rank_time);
    if (reference.memory != Memory::none) {
      expect_memory(schedule, row, reference.memory);
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Reference& reference : references) {
    for (const auto& [name, costs] : document().at("costs").items()) {
      all.push_back({reference, name});
    }
  }
  return all;
}

// gtest allows letters, digits and '_' in the name of an instance.
std::string instance_name(const testing::TestParamInfo<Case>& info) {
  std::string name = std::string(info.param.reference.name) + "_" + info.param.costs;
  std::erase(name, '.');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceNumbers, testing::ValuesIn(cases()), instance_name);

TEST(ReferenceNumbersFile, HasNoRowThatIsNotCompared) {
  std::size_t compared = 0;
  for (const Case& one : cases()) {
    compared += rows_of(one.reference.name, one.costs).size();
  }
  EXPECT_EQ(compared, document().at("rows").size());
}

}  // namespace
}  // namespace dualpipe
