// Every family on every small shape: it generates a schedule that is complete, ordered and live, or
// refuses the shape for the reason it gives, and recommends one that works.

#include <algorithm>
#include <regex>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// What each family requires, in code of our own; any shape where nothing is said.
bool should_support(std::string_view family, const Shape& shape) {
  if (family == "bitpipe" || family == "chimera" || family == "chimera-doubling") {
    return shape.ranks % 2 == 0;
  }
  return true;
}

Shape recommended(const std::string& refusal, const Shape& asked) {
  static const std::regex form(
      "the nearest shape that works: ranks = (\\d+), microbatches = (\\d+)(, chunks = (\\d+))?");
  std::smatch found;
  if (!std::regex_search(refusal, found, form)) {
    ADD_FAILURE() << "no shape is recommended: " << refusal;
    return asked;
  }
  return Shape{.ranks = std::stoi(found[1]),
               .microbatches = std::stoi(found[2]),
               .chunks = found[4].matched ? std::stoi(found[4]) : asked.chunks};
}

void check_supported(const Family& family, const Shape& shape) {
  const Schedule schedule = quickly_generated(family, shape);
  EXPECT_THAT(compile(schedule, eager).violations, IsEmpty());
  EXPECT_EQ(schedule.pipeline.ranks(), shape.ranks);
  EXPECT_EQ(schedule.pipeline.microbatches(), shape.microbatches);
  EXPECT_EQ(schedule.pipeline.name, family.name);
}

void check_refused(const Family& family, const Shape& shape) {
  const std::string message =
      refusal(ExitCode::usage, [&] { return generate(family, shape).ranks.size(); });
  EXPECT_THAT(message,
              HasSubstr(std::string(family.name) + " requires " + std::string(family.requirement)));
  const Shape nearest = recommended(message, shape);
  EXPECT_TRUE(should_support(family.name, nearest)) << message;
  EXPECT_THAT(compile(quickly_generated(family, nearest), eager).violations, IsEmpty()) << message;
}

// gtest allows letters, digits and '_' in the name of an instance.
std::string instance_name(const testing::TestParamInfo<const Family*>& info) {
  std::string name(info.param->name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class SmallScope : public testing::TestWithParam<const Family*> {};

TEST_P(SmallScope, EveryShapeIsValidOrRefusedForTheStatedReason) {
  const Family& family = *GetParam();
  const int chunks_max = has_chunks(family) ? 4 : 1;
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int microbatches = 1; microbatches <= 24; ++microbatches) {
      for (int chunks = 1; chunks <= chunks_max; ++chunks) {
        const Shape shape{.ranks = ranks, .microbatches = microbatches, .chunks = chunks};
        SCOPED_TRACE(to_string(family, shape));
        if (should_support(family.name, shape)) {
          check_supported(family, shape);
        } else {
          check_refused(family, shape);
        }
      }
    }
  }
}

// A family whose number of chunks is fixed takes no notice of it.
TEST_P(SmallScope, ChunksChangeNothingWhereTheyAreFixed) {
  const Family& family = *GetParam();
  if (!has_chunks(family)) {
    EXPECT_EQ(quickly_generated(family, {.ranks = 4, .microbatches = 8, .chunks = 3}),
              quickly_generated(family, {.ranks = 4, .microbatches = 8, .chunks = 1}));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SmallScope, testing::ValuesIn(families()), instance_name);

}  // namespace
}  // namespace dualpipe
