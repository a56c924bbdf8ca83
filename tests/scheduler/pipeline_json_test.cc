#include "scheduler/pipeline_json.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "costs/error.h"
#include "scheduler/pipeline.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string origin = "x.json";

TEST(PipelineMembers, RoundTripExceptForTheRanks) {
  Pipeline pipeline{
      .name = "q\"\\", .placement = bidirectional_placement(3), .direction = {1, 0, 0}};
  const nlohmann::json document =
      parse_document("{\"schema_version\":1," + pipeline_members(pipeline) + "\"last\":0}", origin);
  pipeline.placement.ranks = 0;
  EXPECT_EQ(parse_pipeline_members(JsonReader(document, origin)), pipeline);
}

TEST(SummaryJson, CountsWhatThePipelineHas) {
  const Pipeline pipeline{
      .name = "q", .placement = both_ways(v_placement(3)), .direction = {0, 0, 1, 1}};
  EXPECT_EQ(summary_json(pipeline).dump(),
            R"({"name":"q","ranks":3,"stages":6,"microbatches":4,"chunks":2,"directions":2})");
}

TEST(ParseDocument, SaysLineAndColumn) {
  EXPECT_THAT(
      refusal(ExitCode::invalid_schedule, [] { return parse_document("[1,\n 2,x]", origin); }),
      StartsWith("x.json:2:4: not JSON: "));
  EXPECT_THAT(refusal(ExitCode::invalid_schedule, [] { return parse_document("", origin); }),
              StartsWith("x.json:1:1: not JSON: "));
}

TEST(JsonReader, ReadsMembersOfTheirKind) {
  const nlohmann::json document = {{"s", "text"}, {"n", 7}, {"l", {1, 2}}};
  const JsonReader reader(document, origin);
  EXPECT_EQ(reader.string("s"), "text");
  EXPECT_EQ(reader.integer("n"), 7);
  EXPECT_THAT(reader.integers(reader.list("l"), "l"), ElementsAre(1, 2));
}

TEST(JsonReader, TakesIntegersFromZeroToItsLimit) {
  const auto integer = [](const nlohmann::json& value) {
    const nlohmann::json document = {{"n", value}};
    return JsonReader(document, origin).integer("n");
  };
  EXPECT_EQ(integer(0), 0);
  EXPECT_EQ(integer(JsonReader::integer_max), 100'000'000);
  for (const nlohmann::json& bad :
       {nlohmann::json(-1), nlohmann::json(100'000'001), nlohmann::json(1.0), nlohmann::json(true),
        nlohmann::json("1"), nlohmann::json(nullptr), nlohmann::json(18446744073709551615U)}) {
    EXPECT_THAT(refusal(ExitCode::invalid_schedule, [&] { return integer(bad); }),
                HasSubstr("x.json: key 'n': expected a number from 0 to 100000000, found "))
        << bad;
  }
  EXPECT_THAT(refusal(ExitCode::invalid_schedule, [&] { return integer({1}); }),
              HasSubstr("found array"));
}

TEST(JsonReader, OfSomethingElseThanAnObjectHasNoMembers) {
  const nlohmann::json document = {1, 2};
  EXPECT_THAT(refusal(ExitCode::invalid_schedule,
                      [&] { return JsonReader(document, origin).string("name"); }),
              HasSubstr("key 'name': expected a string, found no such key"));
}

TEST(IsName, TakesWhatFitsOnOneLineOfAnyDocument) {
  EXPECT_TRUE(is_name(""));
  EXPECT_TRUE(is_name("plain"));
  EXPECT_TRUE(is_name("\xc3\xbc \xf0\x9f\x98\x80"));
  for (const char* bad :
       {"two\nlines", "tab\t", "\x7f", "\x1b[0m", "\xff", "\xc3", "\xed\xa0\x80"}) {
    EXPECT_FALSE(is_name(bad)) << bad;
  }
}

}  // namespace
}  // namespace dualpipe
