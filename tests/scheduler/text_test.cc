#include "scheduler/text.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

Schedule read(std::string_view text) {
  return parse_schedule(text, "dir/mine.csv");
}

std::string refusal_of(std::string_view text) {
  return refusal(ExitCode::invalid_schedule, [&] { return read(text); });
}

Schedule small_bidirectional() {
  return {.pipeline = {.name = "two \"ways\"",
                       .placement = bidirectional_placement(2),
                       .direction = {0, 0, 1, 1}},
          .ranks = {slots_of("0F0 (1F2;0B0)OVERLAP_F_B 1I3"), slots_of("1F0 1W0")}};
}

// --- the forms themselves ---

TEST(Csv, IsOneLineOfOpsPerRank) {
  EXPECT_EQ(to_csv(small_bidirectional()), "0F0,(1F2;0B0)OVERLAP_F_B,1I3\n1F0,1W0\n");
}

TEST(Text, HasHeadersAndSpaces) {
  EXPECT_EQ(to_text(small_bidirectional()),
            "name: two \"ways\"\nplacement: 0 1 | 1 0\ndirection: 0*2 1*2\n"
            "0F0 (1F2;0B0)OVERLAP_F_B 1I3\n1F0 1W0\n");
}

TEST(Json, HasTheDocumentedKeys) {
  EXPECT_EQ(to_json(small_bidirectional()),
            "{\"schema_version\":1,\"name\":\"two \\\"ways\\\"\",\"stages\":2,\"microbatches\":4,\n"
            "\"placement\":[[0,1],[1,0]],\n\"direction\":[0,0,1,1],\n\"ranks\":[\n"
            "\"0F0,(1F2;0B0)OVERLAP_F_B,1I3\",\n\"1F0,1W0\"]}\n");
}

TEST(Forms, RoundTripExactly) {
  const Schedule schedule = small_bidirectional();
  EXPECT_EQ(read(to_json(schedule)), schedule);
  EXPECT_EQ(read(to_text(schedule)), schedule);
}

TEST(Forms, RoundTripSchedulesThatCompileWouldRefuse) {
  Schedule schedule = small_bidirectional();
  schedule.ranks = {{}, slots_of("7F9"), {}};  // ranks without slots, an op of no stage
  schedule.pipeline.placement.ranks = 3;
  EXPECT_EQ(read(to_json(schedule)), schedule);
  EXPECT_EQ(read(to_text(schedule)), schedule);
  EXPECT_EQ(to_csv(schedule), "\n7F9\n\n");
}

TEST(Forms, KeepAnyNameThatFitsOnALine) {
  for (const char* name : {"", " ", "  leads with spaces", "trails ", "a:b,c|d*e", "name: x", "\\",
                           "\"quoted\"", "placement: 0 1", "\xc3\xbc\x62\x65r"}) {
    Schedule schedule = small_bidirectional();
    schedule.pipeline.name = name;
    EXPECT_EQ(read(to_json(schedule)), schedule) << name;
    EXPECT_EQ(read(to_text(schedule)), schedule) << name;
  }
}

// Whether the ops of a schedule tell its directions apart.
bool shows_its_directions(const Pipeline& pipeline) {
  const std::set<std::vector<int>> ways(pipeline.placement.rank_of_stage.begin(),
                                        pipeline.placement.rank_of_stage.end());
  const std::set<int> used(pipeline.direction.begin(), pipeline.direction.end());
  return static_cast<int>(std::min(ways.size(), used.size())) == pipeline.placement.directions();
}

TEST(Forms, EverySmallScheduleOfEveryFamilyRoundTrips) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 10, .chunks = 3})) {
      const Schedule schedule = quickly_generated(*family, shape);
      SCOPED_TRACE(to_string(*family, shape));
      EXPECT_EQ(read(to_json(schedule)), schedule);
      EXPECT_EQ(read(to_text(schedule)), schedule);
      Schedule from_csv = read(to_csv(schedule));  // which must have found out the placement
      EXPECT_EQ(from_csv.pipeline.name, "mine");
      from_csv.pipeline.name = schedule.pipeline.name;
      EXPECT_EQ(from_csv.ranks, schedule.ranks);
      if (shows_its_directions(schedule.pipeline)) {
        EXPECT_EQ(from_csv.pipeline, schedule.pipeline);
      }
    }
  }
}

// --- what else can be read ---

TEST(Parse, TellsTheFormsByTheirContent) {
  EXPECT_EQ(read("0F0,0B0\n").ranks, read("0F0 0B0\n").ranks);
  EXPECT_EQ(read("  \n\t" + to_json(small_bidirectional())), small_bidirectional());
}

TEST(Parse, TakesWindowsLineEndsAndAMissingLastOne) {
  const Schedule expected = read("0F0,0B0\n1F0,1B0\n");
  EXPECT_EQ(read("0F0,0B0\r\n1F0,1B0\r\n"), expected);
  EXPECT_EQ(read("0F0,0B0\n1F0,1B0"), expected);
  EXPECT_EQ(read("name: mine\r\nplacement: 0 1\r\ndirection: 0\r\n0F0 0B0\r\n1F0 1B0\r\n"),
            expected);
}

TEST(Parse, TakesEmptyCellsAsIdle) {
  const Schedule schedule = read(",,0F0,,0B0,,\n");
  EXPECT_THAT(schedule.ranks, ElementsAre(slots_of("0F0 0B0")));
}

// As some editors write UTF-8.
TEST(ReadDocument, LeavesAByteOrderMarkOut) {
  const Schedule schedule = small_bidirectional();
  const std::string path = testing::TempDir() + "/marked.csv";
  for (const std::string& text : {to_json(schedule), to_text(schedule), to_csv(schedule)}) {
    std::ofstream(path) << "\xef\xbb\xbf" << text;
    EXPECT_EQ(read_document(path), text);
  }
}

TEST(Parse, AnEmptyLineIsARankWithoutSlots) {
  EXPECT_THAT(read("0F0,0B0\n\n1F0,1B0\n").ranks,
              ElementsAre(testing::SizeIs(2), IsEmpty(), testing::SizeIs(2)));
}

TEST(Parse, HeadersMayComeInAnyOrderAndWithoutSpaces) {
  const Schedule schedule = read("direction:1 0*2\nplacement:0 1 | 1 0\n0F0\n1F0\n");
  EXPECT_THAT(schedule.pipeline.direction, ElementsAre(1, 0, 0));
  EXPECT_EQ(schedule.pipeline.placement, bidirectional_placement(2));
  EXPECT_EQ(schedule.pipeline.name, "mine");
}

TEST(Parse, ANameAloneLeavesThePlacementToBeFound) {
  const Schedule schedule = read("name: given\n0F0 0B0\n1F0 1B0\n");
  EXPECT_EQ(schedule.pipeline.name, "given");
  EXPECT_EQ(schedule.pipeline.placement, linear_placement(2));
}

// PyTorch's own tables, with CRLF, empty cells and overlapped pairs.
TEST(Parse, ReadsWhatPyTorchWrites) {
  const auto placement_of = [](const char* file) {
    return parse_schedule(golden(file), file).pipeline.placement;
  };
  EXPECT_EQ(placement_of("pytorch/GPipe_pp4_mb8_spr1_compute.csv"), linear_placement(4));
  EXPECT_EQ(placement_of("pytorch/Interleaved1F1B_pp4_mb8_spr2_compute.csv"),
            looped_placement(4, 2));
  EXPECT_EQ(placement_of("pytorch/LoopedBFS_pp2_mb4_spr2_compute.csv"), looped_placement(2, 2));
  EXPECT_EQ(placement_of("pytorch/ZBVZeroBubble_pp4_mb8_spr2_compute.csv"), v_placement(4));
  EXPECT_EQ(placement_of("pytorch/DualPipeV_pp4_mb8_spr2_compute.csv"), v_placement(4));
}

TEST(Parse, RefusesPyTorchsLoweredFormAtItsFirstSuchCell) {
  const char* file = "pytorch/InterleavedZeroBubble_pp4_mb8_spr2_comms.csv";
  EXPECT_THAT(
      refusal(ExitCode::invalid_schedule, [&] { return parse_schedule(golden(file), file); }),
      AllOf(StartsWith(std::string(file) + ":1:23: '0SEND_F0' is communication"),
            HasSubstr("expected ops alone")));
}

TEST(Parse, ReadsTheReferencesBidirectionalFile) {
  const Schedule schedule = read(golden("dualpipe_r4_m12.csv"));
  EXPECT_EQ(schedule.pipeline.placement, bidirectional_placement(4));
  EXPECT_EQ(schedule.pipeline.direction, directions_of_microbatches(12, 2));
}

// --- what is refused, and where ---

TEST(Parse, NamesOriginLineAndColumn) {
  EXPECT_THAT(refusal_of("0F0,0B0\n1F0, 1X0\n"),
              AllOf(StartsWith("dir/mine.csv:2:6: '1X0' is not an op"),
                    HasSubstr("expected <stage><F|B|I|W><microbatch>")));
  EXPECT_THAT(refusal_of("0F0\n1F0\n(0F0;1F0)OVERLAP_F_B\n"),
              StartsWith("dir/mine.csv:3:1: '(0F0;1F0)OVERLAP_F_B' overlaps the wrong ops"));
  EXPECT_THAT(refusal_of("name: x\nplacement: 0 1x\n0F0\n"),
              AllOf(StartsWith("dir/mine.csv:2:14: expected a number from 0 to 100000000"),
                    HasSubstr("found '1x'")));
  EXPECT_THAT(refusal_of("placement: 0\ndirection: 0*\n0F0\n"),
              AllOf(StartsWith("dir/mine.csv:2:14: expected a number"), HasSubstr("found ''")));
  EXPECT_THAT(refusal_of("placement: 0\ndirection: 0*3*2\n0F0\n"),
              StartsWith("dir/mine.csv:2:14: expected a number"));
  EXPECT_THAT(refusal_of("placement: -1\ndirection: 0\n0F0\n"),
              StartsWith("dir/mine.csv:1:12: expected a number"));
  EXPECT_THAT(refusal_of(std::string("name: a\x01\n0F0 0B0\n")),
              StartsWith("dir/mine.csv:1:7: expected a name in UTF-8"));
}

TEST(Parse, RefusesHeadersThatMakeNoSense) {
  EXPECT_THAT(refusal_of("placement: 0 1\n0F0\n1F0\n"),
              AllOf(HasSubstr("dir/mine.csv"), HasSubstr("needs a direction line"),
                    HasSubstr("'direction: 0*8'")));
  EXPECT_THAT(refusal_of("direction: 0*1\n0F0 0B0\n1F0 1B0\n"),
              AllOf(HasSubstr("dir/mine.csv"), HasSubstr("needs a placement line")));
  EXPECT_THAT(refusal_of("placement: 0\nplacement: 0\ndirection: 0\n0F0 0B0\n"),
              StartsWith("dir/mine.csv:2:1: a second 'placement:' line"));
  EXPECT_THAT(refusal_of("placement: 0\ndirection: 0\ndirection: 0\n0F0 0B0\n"),
              StartsWith("dir/mine.csv:3:1: a second 'direction:' line"));
  EXPECT_THAT(refusal_of("name: a\nname: b\n0F0 0B0\n"),
              StartsWith("dir/mine.csv:2:1: a second 'name:' line"));
  EXPECT_THAT(refusal_of("0F0 0B0\nname: late\n"), StartsWith("dir/mine.csv:2:1: 'name:' is not"));
}

TEST(Parse, RefusesNothing) {
  for (const char* nothing : {"", "\n", " \r\n\t"}) {
    EXPECT_THAT(refusal_of(nothing),
                StartsWith("dir/mine.csv: expected a schedule, found nothing"));
  }
  for (const char* no_ops : {",\n,\n", "name: x\n"}) {
    EXPECT_THAT(refusal_of(no_ops), StartsWith("dir/mine.csv: expected a schedule, found no ops"));
  }
}

// A JSON document of one rank and one stage, with one of its parts replaced.
std::string json_with(const std::string& from, const std::string& to) {
  std::string text =
      R"({"schema_version":1,"name":"x","stages":1,"microbatches":1,"placement":[[0]],)"
      R"("direction":[0],"ranks":["0F0,0B0"]})";
  EXPECT_NO_THROW(static_cast<void>(read(text)));
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ParseJson, NamesTheKeyAndWhatWasExpected) {
  const auto refused = [](const std::string& from, const std::string& to) {
    return refusal_of(json_with(from, to));
  };
  EXPECT_THAT(
      refused("\"schema_version\":1,", ""),
      StartsWith("dir/mine.csv: key 'schema_version': expected a number, found no such key"));
  EXPECT_THAT(refused("_version\":1", "_version\":2"),
              HasSubstr("key 'schema_version': expected 1, found 2; use the program that wrote"));
  EXPECT_THAT(refused("\"x\"", "7"), HasSubstr("key 'name': expected a string, found number"));
  EXPECT_THAT(refused("\"x\"", R"("a\u0007")"), HasSubstr("key 'name': expected UTF-8 without"));
  EXPECT_THAT(refused("\"stages\":1", "\"stages\":1.5"),
              HasSubstr("key 'stages': expected a number from 0 to 100000000, found 1.5"));
  EXPECT_THAT(refused("\"stages\":1", "\"stages\":2"),
              HasSubstr("key 'placement': expected one rank for each of 2 stages, found 1"));
  EXPECT_THAT(refused("\"microbatches\":1", "\"microbatches\":-1"),
              HasSubstr("key 'microbatches': expected a number from 0 to 100000000, found -1"));
  EXPECT_THAT(
      refused("\"microbatches\":1", "\"microbatches\":2"),
      HasSubstr("key 'direction': expected one direction for each of 2 microbatches, found 1"));
  EXPECT_THAT(refused("[[0]]", "[0]"),
              HasSubstr("key 'placement': expected a list of numbers, found number"));
  EXPECT_THAT(refused("[[0]]", "{}"), HasSubstr("key 'placement': expected a list, found object"));
  EXPECT_THAT(refused("[[0]]", "[[\"0\"]]"), HasSubstr("found \"0\""));
  EXPECT_THAT(refused("[\"0F0,0B0\"]", "[[\"0F0\"]]"),
              HasSubstr("key 'ranks': expected a list of strings such as \"0F0,0F1,0B0\", found "
                        "one of type array"));
  EXPECT_THAT(refused("\"ranks\"", "\"rows\""),
              HasSubstr("key 'ranks': expected a list, found no"));
}

TEST(ParseJson, NamesThePlaceInsideARow) {
  EXPECT_THAT(refusal_of(json_with("0F0,0B0", "0F0,,0X0")),
              StartsWith("dir/mine.csv: ranks[0]:1:6: '0X0' is not an op"));
  EXPECT_THAT(refusal_of(json_with("0F0,0B0", "0F0\\n0B0")), HasSubstr("a byte of value 0x0a"));
}

TEST(ParseJson, NamesThePlaceOfASyntaxError) {
  EXPECT_THAT(refusal_of("{\"schema_version\":1,\n\"name\" }"),
              AllOf(StartsWith("dir/mine.csv:2:8: not JSON: "), HasSubstr("expected ':'")));
  EXPECT_THAT(refusal_of("{"), StartsWith("dir/mine.csv:1:2: not JSON: "));
  EXPECT_THAT(refusal_of("{\"name\":\"\xff\"}"), HasSubstr("not JSON: "));
}

// Numbers that a file of this size cannot mean must cost neither time nor memory.
TEST(Parse, RefusesHostileNumbersAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(refusal_of("0F999999999\n"),
              AllOf(HasSubstr("1000000000 microbatches"), HasSubstr("only 1 ops")));
  EXPECT_THAT(refusal_of("999999999F0\n"), HasSubstr("1000000000 stages"));
  EXPECT_THAT(refusal_of("2147483647F2147483647\n"), HasSubstr("2147483648 stages"));
  EXPECT_THAT(refusal_of("0F4294967296\n"), HasSubstr("is not an op"));
  EXPECT_THAT(refusal_of("placement: 0\ndirection: 0*100000000\n0F0 0B0\n"),
              AllOf(StartsWith("dir/mine.csv:2:12: "), HasSubstr("microbatches")));
  EXPECT_THAT(refusal_of("placement: 0\ndirection: 0*900000 0*900000\n0F0 0B0\n"),
              StartsWith("dir/mine.csv:2:21: "));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(ParseJson, SurvivesDeepNesting) {
  EXPECT_THAT(refusal_of("{\"name\":" + std::string(100'000, '[')), HasSubstr("not JSON"));
}

}  // namespace
}  // namespace dualpipe
