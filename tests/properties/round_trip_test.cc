// Random schedules through their written forms. RapidCheck prints the seed and the smallest
// counterexample.

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
// NOLINTBEGIN(misc-include-cleaner): RapidCheck is one header; the check wants the parts inside it.
#include <rapidcheck.h>

#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/simulate.h"
#include "tests/support/random_schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// The sizes are drawn first, so that counterexamples shrink; the rest comes from a seed.
Schedule any_schedule() {
  const Extents extents{.ranks = *rc::gen::inRange(1, 7),
                        .stages = *rc::gen::inRange(1, 9),
                        .microbatches = *rc::gen::inRange(1, 9)};
  std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
  return random_schedule(random, extents);
}

// A character that may come anywhere in a file.
char any_letter() {
  const std::string common = "0123456789FBIW,; ()\n\r\t*|:{}[]\"OVERLAP_F_Bnameplacementdirection";
  const auto at = *rc::gen::inRange<std::size_t>(0, common.size() + 4);
  return at < common.size() ? common[at] : *rc::gen::arbitrary<char>();
}

TEST(RoundTrip, OfAnyScheduleThroughJsonAndText) {
  EXPECT_TRUE(rc::check("a schedule is read back as it was", [] {
    const Schedule schedule = any_schedule();
    RC_ASSERT(parse_schedule(to_json(schedule), "x") == schedule);
    RC_ASSERT(parse_schedule(to_text(schedule), "x") == schedule);
  }));
}

// The placement that CSV leaves out is found, up to the names of the directions.
TEST(RoundTrip, OfAnyScheduleThroughCsvFindsAPlacementThatFits) {
  EXPECT_TRUE(rc::check("a schedule without its placement still compiles", [] {
    const Schedule schedule = any_schedule();
    const Schedule found = parse_schedule(to_csv(schedule), "x");
    RC_ASSERT(found.ranks == schedule.ranks);
    RC_ASSERT(compile(found, {.receives_ahead = 100, .send_slots = 100}).program.has_value());
    for (int microbatch = 0; microbatch < schedule.pipeline.microbatches(); ++microbatch) {
      for (int stage = 0; stage < schedule.pipeline.stages(); ++stage) {
        RC_ASSERT(found.pipeline.rank_of(stage, microbatch) ==
                  schedule.pipeline.rank_of(stage, microbatch));
      }
    }
  }));
}

TEST(RoundTrip, OfAnyTimelineThroughJson) {
  EXPECT_TRUE(rc::check("a timeline is read back as it was", [] {
    const Schedule schedule = any_schedule();
    std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
    const Timeline timeline =
        simulate(compile_or_throw(schedule, {.receives_ahead = 100, .send_slots = 100}),
                 random_costs(random, schedule.pipeline.stages()));
    RC_ASSERT(parse_timeline(to_json(timeline), "x") == timeline);
    RC_ASSERT(is_timeline(to_json(timeline)));
    RC_ASSERT(!is_timeline(to_json(schedule)));
  }));
}

// Damage a file anywhere: it is refused in words, or it is a schedule that can be written again.
TEST(RoundTrip, OfADamagedFileIsAnErrorOrASchedule) {
  EXPECT_TRUE(rc::check("a damaged file is refused or read", [] {
    const Schedule schedule = any_schedule();
    const std::vector<std::string> forms{to_json(schedule), to_text(schedule), to_csv(schedule)};
    std::string text = forms[*rc::gen::inRange<std::size_t>(0, forms.size())];
    for (int wounds = *rc::gen::inRange(1, 4); wounds > 0 && !text.empty(); --wounds) {
      const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
      const auto length = std::min(*rc::gen::inRange<std::size_t>(0, 3), text.size() - at);
      const std::string inserted(*rc::gen::inRange<std::size_t>(0, 3), any_letter());
      text.replace(at, length, inserted);
    }
    try {
      const Schedule read = parse_schedule(text, "x");
      RC_ASSERT(parse_schedule(to_json(read), "x") == read);
      RC_ASSERT(parse_schedule(to_text(read), "x") == read);
      const Compilation compilation = compile(read);
      RC_ASSERT(compilation.program.has_value() == compilation.violations.empty());
    } catch (const Error& error) {
      RC_ASSERT(error.code() == ExitCode::invalid_schedule);
      RC_ASSERT(std::string(error.what()).starts_with("x:"));
    }
  }));
}

// NOLINTEND(misc-include-cleaner)

}  // namespace
}  // namespace dualpipe
