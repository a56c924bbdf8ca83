// Every family on every small shape: it generates a schedule that is complete, ordered and live, or
// refuses the shape for the reason it gives, and recommends one that works.

#include <regex>
#include <string>

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

// What the papers require, in code of our own.
bool should_support(const std::string& family, const Shape& shape) {
  if (family == "dualpipe") {
    return shape.ranks % 2 == 0 && shape.microbatches % 2 == 0 &&
           shape.microbatches >= 2 * shape.ranks;
  }
  if (family == "dualpipev") {
    return shape.microbatches >= 2 * shape.ranks;
  }
  return family != "interleaved" || shape.microbatches % shape.ranks == 0;
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
  const Schedule schedule = generate(family, shape);
  EXPECT_THAT(compile(schedule).violations, IsEmpty());
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
  EXPECT_TRUE(should_support(std::string(family.name), nearest)) << message;
  EXPECT_THAT(compile(generate(family, nearest)).violations, IsEmpty()) << message;
}

void check_family(const Family& family) {
  const int chunks_max = has_chunks(family) ? 4 : 1;
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int microbatches = 1; microbatches <= 24; ++microbatches) {
      for (int chunks = 1; chunks <= chunks_max; ++chunks) {
        const Shape shape{.ranks = ranks, .microbatches = microbatches, .chunks = chunks};
        SCOPED_TRACE(to_string(family, shape));
        if (should_support(std::string(family.name), shape)) {
          check_supported(family, shape);
        } else {
          check_refused(family, shape);
        }
      }
    }
  }
}

TEST(SmallScope, OneFOneB) {
  check_family(find_family("1f1b"));
}
TEST(SmallScope, GPipe) {
  check_family(find_family("gpipe"));
}
TEST(SmallScope, Interleaved) {
  check_family(find_family("interleaved"));
}
TEST(SmallScope, DualPipe) {
  check_family(find_family("dualpipe"));
}
TEST(SmallScope, DualPipeV) {
  check_family(find_family("dualpipev"));
}

// The families whose number of chunks is fixed take no notice of it.
TEST(SmallScope, ChunksChangeNothingWhereTheyAreFixed) {
  for (const Family* family : families()) {
    if (!has_chunks(*family)) {
      EXPECT_EQ(generate(*family, {.ranks = 4, .microbatches = 8, .chunks = 3}),
                generate(*family, {.ranks = 4, .microbatches = 8, .chunks = 1}))
          << family->name;
    }
  }
}

}  // namespace
}  // namespace dualpipe
