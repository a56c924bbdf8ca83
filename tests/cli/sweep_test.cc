#include "cli/sweep.h"

#include <cstddef>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/subject.h"
#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

Sweep sweep_of(const std::vector<std::string>& varied, const SubjectOptions& subject = {}) {
  return make_sweep(subject, {}, varied);
}

std::string all_rows(const Sweep& sweep) {
  std::string rows = sweep.header();
  for (std::size_t point = 0; point < sweep.points; ++point) {
    rows += sweep.row(point);
  }
  return rows;
}

// GPipe: (M+P-1)(F+B) with F + B = 3 ms by default, and M activations.
TEST(Sweep, HasARowOfFiguresForEveryPoint) {
  EXPECT_EQ(all_rows(make_sweep({}, {"gpipe"}, {"ranks=1,4", "microbatches=2:4:2"})),
            "schedule,ranks,microbatches,step_time,longest_rank_time,bubble_ratio,"
            "peak_activations,peak_bytes,error\n"
            "gpipe,1,2,6000000,6000000,0,2,0,\n"
            "gpipe,1,4,12000000,12000000,0,4,0,\n"
            "gpipe,4,2,15000000,15000000,0.6,2,0,\n"
            "gpipe,4,4,21000000,21000000,0.42857142857142855,4,0,\n");
}

TEST(Sweep, QuotesValuesWithCommasAndSumsBytes) {
  SubjectOptions subject;
  subject.subject = "gpipe";
  subject.sets = {"costs.per=stage", "costs.activation_bytes=100"};
  subject.ranks = 2;
  subject.microbatches = 3;
  EXPECT_EQ(sweep_of({"costs.forward=[1,2]"}, subject).row(0),
            "\"[1,2]\",15000000,15000000,0.3,3,300,\n");
}

TEST(Sweep, GivesTheReasonWhereAPointIsRefused) {
  const Sweep sweep = make_sweep({}, {"chimera"}, {"ranks=3,4"});
  EXPECT_THAT(sweep.row(0), AllOf(StartsWith("chimera,3,,,,,,\"chimera requires ranks even; found"),
                                  testing::EndsWith("\"\n")));
  EXPECT_THAT(sweep.row(1), StartsWith("chimera,4,"));
}

// An option and a varied key that mean the same: the key wins.
TEST(Sweep, VariesWhatTheOptionsSay) {
  SubjectOptions subject;
  subject.subject = "gpipe";
  subject.ranks = 8;
  subject.microbatches = 2;
  subject.memory_limit = "1";
  EXPECT_EQ(sweep_of({"ranks=1", "memory_limit=2"}, subject).row(0),
            "1,2,6000000,6000000,0,2,0,\n");
}

TEST(Sweep, SaysThatAFileHasAShapeOfItsOwn) {
  SubjectOptions subject;
  subject.subject = std::string(TESTS_DIR) + "/golden/1f1b_r2_m6.csv";
  const Sweep sweep = sweep_of({"ranks=2,4"}, subject);
  EXPECT_THAT(sweep.row(0), StartsWith("2,21000000,"));
  EXPECT_THAT(sweep.row(1), HasSubstr("--ranks 4 was given, but"));
}

TEST(MakeSweep, RefusesWhatIsNoSweep) {
  EXPECT_THAT(refusal(ExitCode::usage, [] { return sweep_of({}); }), HasSubstr("--vary"));
  EXPECT_THAT(refusal(ExitCode::usage, [] { return sweep_of({"ranks=1", "pipeline.ranks=2"}); }),
              HasSubstr("found pipeline.ranks twice"));
  EXPECT_THAT(refusal(ExitCode::usage, [] { return sweep_of({"schedule=dualpip"}); }),
              HasSubstr("did you mean 'dualpipe'"));
}

// --- going on with a file ---

struct Kept {
  std::size_t rows = 0;
  std::size_t bytes = 0;
};

Kept kept(const Sweep& sweep, const std::string& text) {
  Kept result;
  result.rows = count_rows(sweep, text, "x.csv", result.bytes);
  return result;
}

std::string not_resumed(const Sweep& sweep, const std::string& text) {
  return refusal(ExitCode::usage, [&] { return kept(sweep, text).rows; });
}

// Wherever the end of the file is cut off, what is whole is kept.
TEST(CountRows, KeepsWholeRowsOfAFileCutAnywhere) {
  const Sweep sweep = make_sweep({}, {"gpipe"}, {"ranks=1,2", "microbatches=1,2"});
  const std::string whole = all_rows(sweep);
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    const std::string text = whole.substr(0, length);
    const Kept result = kept(sweep, text);
    std::string again = text.substr(0, result.bytes);
    again += result.bytes == 0 ? sweep.header() : "";
    for (std::size_t point = result.rows; point < sweep.points; ++point) {
      again += sweep.row(point);
    }
    ASSERT_EQ(again, whole) << length;
    ASSERT_LE(length - result.bytes, sweep.header().size());
  }
}

TEST(CountRows, RefusesAFileOfAnotherSweep) {
  const Sweep sweep = make_sweep({}, {"gpipe"}, {"ranks=1,2"});
  const std::string whole = all_rows(sweep);
  EXPECT_THAT(not_resumed(make_sweep({}, {"gpipe"}, {"microbatches=1,2"}), whole),
              AllOf(StartsWith("x.csv:1: cannot resume: expected 'schedule,microbatches,"),
                    HasSubstr("found 'schedule,ranks,")));
  EXPECT_THAT(not_resumed(make_sweep({}, {"gpipe"}, {"ranks=1,3"}), whole),
              StartsWith("x.csv:3: cannot resume: expected 'gpipe,3,..', found 'gpipe,2,"));
  EXPECT_THAT(not_resumed(make_sweep({}, {"gpipe"}, {"ranks=1"}), whole),
              StartsWith("x.csv:3: cannot resume: expected 'no more rows'"));
  SubjectOptions dearer;
  dearer.sets = {"costs.forward=2"};
  EXPECT_THAT(not_resumed(make_sweep(dearer, {"gpipe"}, {"ranks=1,2"}), whole),
              StartsWith("x.csv:3: cannot resume: expected 'gpipe,2,"));
}

}  // namespace
}  // namespace dualpipe
