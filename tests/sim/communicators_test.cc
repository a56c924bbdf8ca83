#include "sim/communicators.h"

#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/program.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Messages 0 and 1 are the activations 0->1, messages 2 and 3 the gradients 1->0.
Program program_on(Topology topology) {
  return compile_or_throw(written("0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1\n"),
                          {.topology = topology, .receives_ahead = 0});
}

class Posting {
 public:
  explicit Posting(Topology topology) : program_(program_on(topology)), communicators_(program_) {}

  std::vector<std::int32_t> send(std::int32_t message, std::int32_t group) {
    std::vector<std::int32_t> ready;
    communicators_.post(message, true, group, ready);
    return ready;
  }
  std::vector<std::int32_t> receive(std::int32_t message, std::int32_t group) {
    std::vector<std::int32_t> ready;
    communicators_.post(message, false, group, ready);
    return ready;
  }
  std::vector<std::int32_t> finish(std::int32_t message) {
    std::vector<std::int32_t> ready;
    communicators_.finish(message, ready);
    return ready;
  }

 private:
  Program program_;
  Communicators communicators_;
};

TEST(Communicators, ATransferMayBeginWhenBothEndsHavePostedIt) {
  Posting posting(Topology::channel);
  EXPECT_THAT(posting.send(0, 0), IsEmpty());
  EXPECT_THAT(posting.receive(0, 0), ElementsAre(0));
}

TEST(Communicators, TransfersOfAChannelGoOneAfterAnother) {
  Posting posting(Topology::channel);
  static_cast<void>(posting.send(0, 0));
  static_cast<void>(posting.send(1, 1));
  EXPECT_THAT(posting.receive(0, 0), ElementsAre(0));
  EXPECT_THAT(posting.receive(1, 1), IsEmpty());
  EXPECT_THAT(posting.finish(0), ElementsAre(1));
}

TEST(Communicators, AGroupGoesTogether) {
  Posting posting(Topology::channel);
  static_cast<void>(posting.send(0, 4));
  static_cast<void>(posting.send(1, 4));
  EXPECT_THAT(posting.receive(0, 2), ElementsAre(0));
  EXPECT_THAT(posting.receive(1, 2), ElementsAre(1));
}

TEST(Communicators, AChannelOfItsOwnDoesNotWaitForAnother) {
  Posting posting(Topology::channel);
  static_cast<void>(posting.send(0, 0));
  static_cast<void>(posting.send(2, 0));
  EXPECT_THAT(posting.receive(2, 1), ElementsAre(2));
}

// Rank 0 asks for the gradient while its own send, which nobody receives yet, is under way.
TEST(Communicators, ASharedOneRunsOneOperationOfARankAtATime) {
  Posting posting(Topology::pair);
  static_cast<void>(posting.send(0, 0));
  static_cast<void>(posting.send(2, 0));
  EXPECT_THAT(posting.receive(2, 1), IsEmpty());
}

TEST(CommunicatorsDeathTest, WhatHasNotBegunDoesNotFinish) {
  Posting posting(Topology::channel);
  EXPECT_DEATH(static_cast<void>(posting.finish(0)), "CHECK");
}

}  // namespace
}  // namespace dualpipe
