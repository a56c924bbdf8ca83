#include "scheduler/lowered.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
using testing::UnorderedElementsAre;

const std::string pytorchs_file = "pytorch/InterleavedZeroBubble_pp4_mb8_spr2_comms.csv";

// Two ranks, one stage each, two microbatches, written out by hand.
constexpr std::string_view good_first =
    "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD\n";
constexpr std::string_view good_second =
    "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1,1REDUCE_GRAD\n";

Compilation checked(const std::string& text, Topology topology = Topology::edge,
                    int buffering = 0) {
  return compile(parse_lowered(text, "test.csv"), topology, buffering);
}

Compilation checked_with_second(std::string_view second, Topology topology = Topology::edge) {
  return checked(std::string(good_first) + std::string(second), topology);
}

// "message, rank 1, slot 0: .." for each violation.
std::vector<std::string> texts_of(const Compilation& compilation) {
  EXPECT_EQ(compilation.program.has_value(), compilation.violations.empty());
  std::vector<std::string> texts;
  for (const Violation& violation : compilation.violations) {
    texts.push_back(std::string(to_string(violation.kind)) + ", rank " +
                    std::to_string(violation.rank) + ", slot " + std::to_string(violation.slot) +
                    ": " + violation.message);
  }
  return texts;
}

std::string replaced(std::string text, const std::string& part, const std::string& by) {
  const std::size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), by);
}

// --- reading ---

TEST(Lowered, IsToldByItsCells) {
  EXPECT_TRUE(is_lowered(good_first));
  EXPECT_TRUE(is_lowered(golden(pytorchs_file)));
  EXPECT_TRUE(is_lowered("0F0,0B0,0REDUCE_GRAD\n"));
  EXPECT_FALSE(is_lowered("0F0,0B0\n"));
  EXPECT_FALSE(is_lowered("0UNSHARD,0F0,0B0,0RESHARD\n"));
  EXPECT_FALSE(is_lowered("name: SEND_F\n0F0 0B0\n"));
  EXPECT_FALSE(is_lowered(R"({"name":"RECV_B"})"));
  EXPECT_FALSE(is_lowered(""));
}

TEST(Lowered, HasTheOpsOfTheFormWithoutCommunication) {
  const LoweredSchedule lowered = parse_lowered(golden(pytorchs_file), pytorchs_file);
  EXPECT_EQ(lowered.schedule.pipeline.stages(), 8);
  EXPECT_EQ(lowered.schedule.pipeline.microbatches(), 8);
  EXPECT_THAT(lowered.reductions, SizeIs(8));
  for (const std::vector<Slot>& slots : lowered.schedule.ranks) {
    EXPECT_THAT(slots, SizeIs(2 * 8 * 3));
  }
  EXPECT_EQ(to_string(lowered.schedule.ranks[3][4]), "7F0");
}

TEST(Lowered, PlainFormsMayNameShardingToo) {
  EXPECT_EQ(parse_schedule("0UNSHARD,0F0,0B0,0RESHARD\n", "x").ranks,
            parse_schedule("0F0,0B0\n", "x").ranks);
}

std::string refusal_of(const std::string& text) {
  return refusal(ExitCode::invalid_schedule, [&] { return parse_lowered(text, "bad.csv"); });
}

TEST(Lowered, HasNoEmptyCells) {
  for (const auto& [text, place] :
       {std::pair{"0F0,,0SEND_F0\n", "bad.csv:1:5:"}, std::pair{"0F0,0SEND_F0,\n", "bad.csv:1:14:"},
        std::pair{"0F0,0SEND_F0\n,1F0\n", "bad.csv:2:1:"},
        std::pair{"0F0, \t,\n", "bad.csv:1:5:"}}) {
    EXPECT_THAT(refusal_of(text), AllOf(StartsWith(place), HasSubstr("an empty cell"))) << text;
  }
}

TEST(Lowered, RefusesWordsThatMeanNothing) {
  for (const char* cell : {"0SEND_X0", "0SEND_F", "SEND_F0", "0REDUCE_GRAD1", "0UNSHARD0",
                           "0SEND_F99999999999", "-1SEND_F0", "0F0x", "0SEND_F0 1"}) {
    EXPECT_THAT(refusal_of("0F0,0B0,0SEND_F0\n1F0," + std::string(cell) + "\n"),
                AllOf(StartsWith("bad.csv:2:5: "), HasSubstr("or one of SEND_F")))
        << cell;
  }
}

// --- proof ---

TEST(LoweredProof, PyTorchsOwnFileIsSafeOnDirectedEdges) {
  const Compilation compilation = checked(golden(pytorchs_file));
  EXPECT_THAT(texts_of(compilation), IsEmpty());
  EXPECT_THAT(compilation.warnings, IsEmpty());
}

TEST(LoweredProof, AHandWrittenOneIsSafe) {
  const Compilation compilation = checked_with_second(good_second);
  EXPECT_THAT(texts_of(compilation), IsEmpty());
  EXPECT_THAT(compilation.warnings, IsEmpty());
}

// Rank 1 takes the two activations in the wrong order: nobody but us would notice.
TEST(LoweredProof, NamesTheTwoTensorsThatAreSwapped) {
  EXPECT_THAT(texts_of(checked_with_second("1RECV_F1,1RECV_F0,1F0,1B0,1SEND_B0,1F1,1B1,1SEND_B1,"
                                           "1REDUCE_GRAD\n")),
              ElementsAre("message, rank 1, slot 2: message 0 from rank 0 to rank 1 would be "
                          "swapped: rank 0 sends 0F0's output, but rank 1 takes it for 0F1's "
                          "output"));
}

// Between two ranks there is one line for activations and gradients together.
TEST(LoweredProof, TellsAGradientTakenForAnActivation) {
  // Stages 0 and 2 on rank 0, 1 and 3 on rank 1: rank 1 sends 1F1's output, then 1B0's gradient.
  const std::string first =
      "0F0,0SEND_F0,0F1,0SEND_F1,2RECV_F0,2F0,2SEND_F0,2RECV_B0,2B0,2SEND_B0,0RECV_B0,2RECV_F1,0B0,"
      "2F1,2SEND_F1,2RECV_B1,2B1,2SEND_B1,0RECV_B1,0B1,0REDUCE_GRAD,2REDUCE_GRAD\n";
  const std::string second =
      "1RECV_F0,1F0,1SEND_F0,1RECV_F1,3RECV_F0,3F0,3B0,3SEND_B0,1F1,1SEND_F1,1RECV_B0,1B0,1SEND_B0,"
      "3RECV_F1,3F1,3B1,3SEND_B1,1RECV_B1,1B1,1SEND_B1,1REDUCE_GRAD,3REDUCE_GRAD\n";
  const Compilation swapped = checked(first + second);
  ASSERT_FALSE(swapped.violations.empty());
  EXPECT_THAT(swapped.violations.front().message,
              HasSubstr("rank 1 sends 1F1's output, but rank 0 takes it for 1B0's gradient"));
  const Compilation mended =
      checked(replaced(first, "0RECV_B0,2RECV_F1", "2RECV_F1,0RECV_B0") + second);
  EXPECT_THAT(texts_of(mended), IsEmpty());
}

TEST(LoweredProof, NamesAMissingReceiveAndAMissingSend) {
  EXPECT_THAT(texts_of(checked_with_second(replaced(std::string(good_second), "1RECV_F1,", ""))),
              ElementsAre("message, rank 1, slot 2: 1F1 runs before the receive of 0F1's output"));
  EXPECT_THAT(texts_of(checked_with_second(replaced(std::string(good_second), "1SEND_B0,", ""))),
              ElementsAre("message, rank 1, slot 1: rank 1 never sends 1B0's gradient"));
}

TEST(LoweredProof, NamesASendToItsOwnRank) {
  // A V on one rank besides rank 0: stages 1 and 2 are both on rank 1.
  const std::string first =
      "0F0,0SEND_F0,3RECV_F0,3F0,3B0,3SEND_B0,0RECV_B0,0B0,0REDUCE_GRAD,3REDUCE_GRAD\n";
  const std::string second =
      "1RECV_F0,1F0,2F0,2SEND_F0,2RECV_B0,2B0,1B0,1SEND_B0,1REDUCE_GRAD,2REDUCE_GRAD\n";
  EXPECT_THAT(texts_of(checked(first + second)), IsEmpty());
  EXPECT_THAT(
      texts_of(checked(first + replaced(second, "1F0,2F0", "1F0,1SEND_F0,2RECV_F0,2F0"))),
      ElementsAre("message, rank 1, slot 1: 1SEND_F0: stage 2 is on rank 1 too and needs no "
                  "message",
                  "message, rank 1, slot 1: 2RECV_F0: stage 1 is on rank 1 too and needs no "
                  "message"));
}

TEST(LoweredProof, NamesSendsAndReceivesBeyondTheEndsOfThePipeline) {
  EXPECT_THAT(
      texts_of(checked("0RECV_F0," + replaced(std::string(good_first), "0B1,", "0B1,0SEND_B1,") +
                       replaced(std::string(good_second), "1F1,", "1F1,1SEND_F1,1RECV_B1,"))),
      ElementsAre(HasSubstr("0RECV_F0: stage 0 has no neighbour on that side"),
                  HasSubstr("0SEND_B1: stage 0 has no neighbour"),
                  HasSubstr("1SEND_F1: stage 1 has no neighbour"),
                  HasSubstr("1RECV_B1: stage 1 has no neighbour")));
}

TEST(LoweredProof, NamesCommunicationOnAnotherRanksBehalf) {
  EXPECT_THAT(texts_of(checked_with_second(
                  replaced(std::string(good_second), "1RECV_F1", "0SEND_F1,1RECV_F1"))),
              ElementsAre("message, rank 1, slot 2: rank 1 sends 0F1's output in another rank's "
                          "place"));
}

TEST(LoweredProof, NamesWhatIsOutsideTheSchedule) {
  EXPECT_THAT(
      texts_of(checked_with_second("9REDUCE_GRAD,1SEND_B7," + std::string(good_second))),
      ElementsAre("shape, rank 1, slot 0: 1SEND_B7 is outside the schedule's 2 stages and 2 "
                  "microbatches",
                  "shape, rank 1, slot 0: 9REDUCE_GRAD is outside the schedule's 2 "
                  "stages"));
}

TEST(LoweredProof, AnOutputMustBeSentBeforeItsBackwardFreesIt) {
  const std::string first = "0F0,0F1,0SEND_F1,0RECV_B1,0B1,0SEND_F0,0RECV_B0,0B0,0REDUCE_GRAD\n";
  const std::string second = "1RECV_F1,1F1,1B1,1SEND_B1,1RECV_F0,1F0,1B0,1SEND_B0,1REDUCE_GRAD\n";
  // Values may be sent in another order than they were written: PyTorch keeps them by name.
  EXPECT_THAT(texts_of(checked(first + second)), IsEmpty());
  const Compilation late =
      checked(replaced(replaced(first, "0SEND_F1,", ""), "0B1,", "0B1,0SEND_F1,") + second);
  EXPECT_THAT(texts_of(late), ElementsAre("order, rank 0, slot 2: 0SEND_F1 comes after 0B1, which "
                                          "frees what it sends",
                                          StartsWith("deadlock")));
}

TEST(LoweredProof, WarnsOfReductionsThatAreMissing) {
  const Compilation compilation =
      checked_with_second(replaced(std::string(good_second), ",1REDUCE_GRAD", ""));
  EXPECT_THAT(texts_of(compilation), IsEmpty());
  EXPECT_THAT(compilation.warnings,
              ElementsAre("no REDUCE_GRAD for stage 1: from PyTorch 2.10 on the gradients come out "
                          "2 times too large"));
}

TEST(LoweredProof, NamesReductionsThatAreTooEarlyTwiceOrElsewhere) {
  EXPECT_THAT(
      texts_of(
          checked_with_second(replaced(std::string(good_second), "1B1,", "1REDUCE_GRAD,1B1,"))),
      ElementsAre("order, rank 1, slot 3: 1REDUCE_GRAD comes before 1B1, whose gradients it "
                  "leaves out",
                  "duplicate, rank 1, slot 3: 1REDUCE_GRAD is there a second time"));
  EXPECT_THAT(texts_of(checked(replaced(std::string(good_first), "0REDUCE_GRAD", "1REDUCE_GRAD") +
                               replaced(std::string(good_second), "1REDUCE_GRAD", "0REDUCE_GRAD"))),
              ElementsAre(HasSubstr("placement, rank 0, slot 3: 1REDUCE_GRAD is on rank 0"),
                          HasSubstr("placement, rank 1, slot 3: 0REDUCE_GRAD is on rank 1")));
}

// Every replica of a stage has gradients of its own to reduce.
TEST(LoweredProof, TakesOneReductionOnEachReplica) {
  EXPECT_THAT(texts_of(checked("0F0,0B0,1F1,1B1,0REDUCE_GRAD,1REDUCE_GRAD\n"
                               "1F0,1B0,0F1,0B1,1REDUCE_GRAD,0REDUCE_GRAD\n")),
              Not(Contains(HasSubstr("REDUCE_GRAD"))));
}

TEST(LoweredProof, WarnsOfAReductionThatOneReplicaLacks) {
  const Compilation compilation = checked(
      "0F0,0SEND_F0,1RECV_F1,1F1,1B1,1SEND_B1,0RECV_B0,0B0,0REDUCE_GRAD,1REDUCE_GRAD\n"
      "0F1,0SEND_F1,1RECV_F0,1F0,1B0,1SEND_B0,0RECV_B1,0B1,0REDUCE_GRAD\n");
  EXPECT_THAT(texts_of(compilation), IsEmpty());
  EXPECT_THAT(compilation.warnings, ElementsAre(HasSubstr("no REDUCE_GRAD for stage 1:")));
}

// A message that nothing writes must not pass as one that stays on its rank.
TEST(LoweredProof, NamesGradientsOfInferenceThatNothingWrites) {
  EXPECT_THAT(texts_of(checked("0F0,0SEND_F0,0RECV_B0\n1RECV_F0,1F0,1SEND_B0\n")),
              ElementsAre(HasSubstr("0RECV_B0: there is no backward to write that gradient"),
                          HasSubstr("1SEND_B0: there is no backward to write that gradient")));
}

// Each rank takes the other's message before it sends its own, which the other waits for.
TEST(LoweredProof, NamesTheCircleOfADeadlock) {
  const std::string first = "0F0,0RECV_B0,0SEND_F0,0F1,0SEND_F1,0B0,0RECV_B1,0B1,0REDUCE_GRAD\n";
  // Receives are not waited for until they are read: posting one early hangs nobody on its own ...
  EXPECT_THAT(texts_of(checked(first + std::string(good_second))), IsEmpty());
  // ... but where the two ways share a communicator, the send behind it never starts.
  const Compilation queued = checked(first + std::string(good_second), Topology::pair);
  EXPECT_THAT(queued.cycle,
              UnorderedElementsAre(
                  "rank 0 cannot send 0F0's output to rank 1: on that communicator it must first "
                  "receive 1B0's gradient from rank 1",
                  "rank 1 waits, before 1F0, to receive 0F0's output from rank 0"));
  EXPECT_EQ(queued.smallest_buffering, std::nullopt);
  // Where each op waits for the other rank's next one, no communicator helps.
  const Compilation circle = checked(
      "0F0,0SEND_F0,0RECV_B0,0B0,0F1,0SEND_F1,0RECV_B1,0B1,0REDUCE_GRAD\n"
      "1RECV_F0,1F0,1RECV_F1,1F1,1B0,1SEND_B0,1B1,1SEND_B1,1REDUCE_GRAD\n");
  EXPECT_THAT(circle.cycle,
              ElementsAre("rank 0 waits, before 0B0, to receive 1B0's gradient from rank 1",
                          "rank 1 waits, before 1F1, to receive 0F1's output from rank 0"));
}

TEST(LoweredProof, BuffersHelpSendsThatPassEachOther) {
  // Both ranks send before they receive on one communicator.
  const std::string first = "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD\n";
  const std::string second = "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1,1REDUCE_GRAD\n";
  const Compilation rendezvous = checked(first + second, Topology::pair);
  EXPECT_FALSE(rendezvous.program);
  EXPECT_EQ(rendezvous.smallest_buffering, 1);
  EXPECT_TRUE(checked(first + second, Topology::pair, 1).program);
}

}  // namespace
}  // namespace dualpipe
