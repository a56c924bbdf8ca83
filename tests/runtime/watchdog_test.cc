#include "runtime/watchdog.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/inproc_transport.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Program program_of(std::string_view family, int ranks, int microbatches) {
  return compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}));
}

// What the ranks of a program are doing, five seconds into it.
struct Scene {
  explicit Scene(Program of) : program(std::move(of)) {
    for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
      does(rank, Activity::starting, 0);
    }
  }

  void does(int rank, Activity activity, std::int32_t index) {
    statuses.resize(static_cast<std::size_t>(program.pipeline().ranks()));
    statuses[static_cast<std::size_t>(rank)] = RankStatus{.step = 3,
                                                          .since_ns = 1'000'000'000,
                                                          .now_ns = 6'000'000'000,
                                                          .activity = activity,
                                                          .index = index};
  }
  void runs(int rank, std::string_view op) {
    const auto slots = program.slots(rank);
    for (std::size_t k = 0; k < slots.size(); ++k) {
      if (slots[k] == parse_slot(op)) {
        does(rank, Activity::running, static_cast<std::int32_t>(k));
        return;
      }
    }
    ADD_FAILURE() << "rank " << rank << " has no " << op;
  }
  void receives(int rank, const Value& value) {
    does(rank, Activity::awaiting_receive, message_with(value));
  }
  void sends(int rank, const Value& value) {
    does(rank, Activity::awaiting_send, message_with(value));
  }
  void is_silent(int rank) { statuses[static_cast<std::size_t>(rank)].reset(); }

  [[nodiscard]] std::string report(int reporter) const {
    return who_waits_for_whom(program, statuses, reporter);
  }

  Program program;
  std::vector<std::optional<RankStatus>> statuses;

 private:
  [[nodiscard]] std::int32_t message_with(const Value& value) const {
    const auto messages = program.messages();
    for (std::size_t k = 0; k < messages.size(); ++k) {
      if (messages[k].value == value) {
        return static_cast<std::int32_t>(k);
      }
    }
    ADD_FAILURE() << to_string(value) << " is no message";
    return 0;
  }
};

TEST(WhoWaitsForWhom, NamesTheRankThatAllOthersWaitFor) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.receives(0, {ValueKind::input_gradient, 1, 2});
  scene.receives(1, {ValueKind::input_gradient, 2, 2});
  scene.runs(2, "2F5");
  scene.receives(3, {ValueKind::activation, 2, 5});
  EXPECT_EQ(
      scene.report(0),
      "rank 0 waits to receive gradient 1->0 #2 (stage 1, microbatch 2) for 5.0 s (step 3)\n"
      "rank 1 waits to receive gradient 2->1 #2 (stage 2, microbatch 2) for 5.0 s (step 3)\n"
      "rank 2 is inside 2F5 for 5.0 s (step 3)\n"
      "rank 3 waits to receive activation 2->3 #5 (stage 2, microbatch 5) for 5.0 s (step 3)\n"
      "no cycle; suspect rank 2");
}

TEST(WhoWaitsForWhom, SpellsACycleOut) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.sends(0, {ValueKind::activation, 0, 4});
  scene.sends(1, {ValueKind::activation, 1, 3});
  scene.sends(2, {ValueKind::input_gradient, 2, 1});
  scene.receives(3, {ValueKind::activation, 2, 3});
  EXPECT_THAT(scene.report(0),
              AllOf(HasSubstr("rank 0 waits to send activation 0->1 #4 (stage 0, microbatch 4)"),
                    HasSubstr("\ncycle: rank 1 -> rank 2 -> rank 1")));
}

TEST(WhoWaitsForWhom, ACycleElsewhereExplainsMoreThanARankThatRuns) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.receives(0, {ValueKind::input_gradient, 1, 2});
  scene.runs(1, "1F5");
  scene.sends(2, {ValueKind::activation, 2, 3});
  scene.sends(3, {ValueKind::input_gradient, 3, 1});
  EXPECT_THAT(scene.report(0), HasSubstr("\ncycle: rank 2 -> rank 3 -> rank 2"));
}

TEST(WhoWaitsForWhom, OfASilentRankItsPageIsToldAndItIsTheSuspect) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.receives(3, {ValueKind::activation, 2, 5});
  scene.receives(2, {ValueKind::activation, 1, 5});
  scene.statuses[2]->answers = false;
  EXPECT_THAT(scene.report(3),
              AllOf(HasSubstr("rank 2 does not answer; by its status page it waits to receive "
                              "activation 1->2 #5"),
                    HasSubstr("no cycle; suspect rank 2")));
}

TEST(WhoWaitsForWhom, WhatDoesNotFitTheProgramIsNotFollowed) {
  Scene scene(program_of("1f1b", 2, 4));
  scene.does(1, Activity::awaiting_send, 1'000'000);
  scene.receives(0, {ValueKind::input_gradient, 1, 2});
  EXPECT_THAT(scene.report(0),
              AllOf(HasSubstr("rank 1 says that it is somewhere where this program has nothing\n"),
                    HasSubstr("no cycle; suspect rank 1")));
}

TEST(WhoWaitsForWhom, TellsLastWhatTheListedRanksDidBefore) {
  Scene scene(program_of("1f1b", 2, 4));
  scene.runs(1, "1F0");
  scene.receives(0, {ValueKind::input_gradient, 1, 0});
  scene.statuses[0]->past_count = 1;
  scene.statuses[0]->past[0] = {.since_ns = 0, .activity = Activity::running, .index = 1};
  EXPECT_THAT(scene.report(0),
              HasSubstr("\nno cycle; suspect rank 1\nrank 0 before: 0F1 1000.000 ms"));
}

TEST(WhoWaitsForWhom, ASilentRankIsTheSuspect) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.receives(3, {ValueKind::activation, 2, 5});
  scene.is_silent(2);
  EXPECT_THAT(scene.report(3),
              AllOf(HasSubstr("rank 2 does not answer\n"), HasSubstr("no cycle; suspect rank 2")));
}

TEST(WhoWaitsForWhom, FollowsReplicasToTheOtherHolder) {
  Scene scene(program_of("dualpipe", 4, 8));  // stage s on rank s and on rank 3-s
  scene.does(0, Activity::reducing_replicas, 3);
  scene.does(3, Activity::optimizing, 0);
  EXPECT_THAT(scene.report(0),
              AllOf(HasSubstr("rank 0 waits to add the gradient of stage 3 with rank 3 for 5.0 s"),
                    HasSubstr("rank 3 is inside the optimizer of stage 0"),
                    HasSubstr("no cycle; suspect rank 3")));
}

TEST(WhoWaitsForWhom, FollowsTheEndOfTheStepToItsPeer) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.does(1, Activity::synchronizing, 0);
  scene.does(0, Activity::synchronizing, 2);
  scene.does(2, Activity::finished, 0);
  EXPECT_THAT(scene.report(1),
              AllOf(HasSubstr("rank 1 waits to synchronize with rank 0"),
                    HasSubstr("rank 2 has finished"), HasSubstr("no cycle; suspect rank 2")));
}

TEST(WhoWaitsForWhom, ARankBusyWithItselfDoesNotWait) {
  Scene scene(program_of("1f1b", 4, 8));
  scene.does(1, Activity::synchronizing, 0);
  scene.does(0, Activity::synchronizing, 0);
  EXPECT_THAT(scene.report(1), AllOf(HasSubstr("rank 0 is busy between two steps"),
                                     HasSubstr("no cycle; suspect rank 0")));
}

TEST(WhoWaitsForWhom, OfManyRanksListsThoseOnTheWay) {
  Scene scene(program_of("1f1b", 20, 40));
  scene.receives(19, {ValueKind::activation, 18, 5});
  scene.receives(18, {ValueKind::activation, 17, 5});
  scene.runs(17, "17F5");
  EXPECT_EQ(scene.report(19),
            "rank 17 is inside 17F5 for 5.0 s (step 3)\n"
            "rank 18 waits to receive activation 17->18 #5 (stage 17, microbatch 5) for 5.0 s "
            "(step 3)\n"
            "rank 19 waits to receive activation 18->19 #5 (stage 18, microbatch 5) for 5.0 s "
            "(step 3)\n"
            "(17 other ranks are not part of this)\n"
            "no cycle; suspect rank 17");
}

class BoundedWaitTest : public testing::Test {
 protected:
  [[nodiscard]] BoundedWait waits(int rank, std::chrono::milliseconds op_timeout) const {
    return BoundedWait(program_, *transports_[static_cast<std::size_t>(rank)], op_timeout);
  }
  [[nodiscard]] Transport& at(int rank) { return *transports_[static_cast<std::size_t>(rank)]; }

  Program program_ = program_of("1f1b", 2, 4);
  std::vector<std::unique_ptr<Transport>> transports_ = make_inproc_transports(2);
  std::byte there_{};
  std::byte back_{};
};

constexpr std::chrono::seconds generous{60};

TEST_F(BoundedWaitTest, ReturnsWhenTheOperationIsDone) {
  const Ticket send = at(0).post_send(1, MessageClass::activation, {&there_, 1});
  const Ticket receive = at(1).post_receive(0, MessageClass::activation, {&back_, 1});
  waits(0, generous).wait(send);
  waits(1, generous).wait(receive);
}

TEST_F(BoundedWaitTest, ReportsAndEndsTheJobWhenTheDeadlinePasses) {
  at(1).status().publish(3, Activity::awaiting_receive, 0);
  const Ticket ticket = at(1).post_receive(0, MessageClass::activation, {&back_, 1});
  std::string report;
  try {
    waits(1, std::chrono::milliseconds(20)).wait(ticket);
    ADD_FAILURE() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::timeout);
    report = error.what();
  }
  EXPECT_THAT(report, AllOf(HasSubstr("rank 1 has waited longer than 0.02 s\n"),
                            HasSubstr("rank 0 has not begun its first step"),
                            HasSubstr("no cycle; suspect rank 0")));
  try {
    static_cast<void>(at(0).post_send(1, MessageClass::activation, {&there_, 1}));
    ADD_FAILURE() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::timeout);
    EXPECT_EQ(error.what(), report);
  }
}

// Both wait to send to the other, and both notice. Whoever comes first reports; the other throws
// the same report.
TEST_F(BoundedWaitTest, OfTwoThatNoticeOneReports) {
  std::vector<std::string> reports(2);
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([this, rank, &reports] {
        const auto messages = program_.messages();
        for (std::size_t k = 0; k < messages.size(); ++k) {
          if (program_.channel_of(messages[k]).source == rank) {
            at(rank).status().publish(0, Activity::awaiting_send, static_cast<std::int32_t>(k));
          }
        }
        const std::byte token{};
        const Ticket ticket = at(rank).post_send(1 - rank, MessageClass::gradient, {&token, 1});
        try {
          waits(rank, std::chrono::milliseconds(50)).wait(ticket);
          ADD_FAILURE() << "did not throw";
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ExitCode::timeout);
          reports[static_cast<std::size_t>(rank)] = error.what();
        }
      });
    }
  }
  EXPECT_EQ(reports[0], reports[1]);
  EXPECT_THAT(reports[0], HasSubstr("cycle: rank "));
}

TEST(OpTimeout, IsOfMillisecondsToElevenDays) {
  EXPECT_EQ(op_timeout_of(0.001, "--op-timeout"), std::chrono::milliseconds(1));
  EXPECT_EQ(op_timeout_of(2.5, "--op-timeout"), std::chrono::milliseconds(2500));
  EXPECT_EQ(op_timeout_of(1e6, "--op-timeout"), std::chrono::seconds(1'000'000));
  for (const double seconds : {0.0009, 1e-10, 0.0, -1.0, 1e6 + 1.0, 4.62e8, 1e300,
                               std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(refusal(ExitCode::usage, [&] { return op_timeout_of(seconds, "--op-timeout"); }),
                HasSubstr("--op-timeout: expected 0.001 to 1e+06 seconds, found "))
        << seconds;
  }
}

// Gets stuck where the others' status is asked for, as in MPI: the deadline says nothing to it.
class StuckReporting final : public Transport {
 public:
  explicit StuckReporting(Transport& inner) : inner_(inner) {}

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int ranks() const override { return inner_.ranks(); }
  [[nodiscard]] std::string_view name() const override { return "stuck"; }
  [[nodiscard]] Device& device() override { return inner_.device(); }
  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override {
    return inner_.post_send(destination, message_class, message);
  }
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    return inner_.post_receive(source, message_class, message);
  }
  void end_group() override { inner_.end_group(); }
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override {
    return inner_.wait(ticket, deadline);
  }
  void check() override { inner_.check(); }
  [[nodiscard]] StatusPage& status() override { return inner_.status(); }
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline /*deadline*/) override {
    std::this_thread::sleep_for(std::chrono::seconds(10));
    return std::nullopt;
  }
  void abort(ExitCode code, const std::string& reason) noexcept override {
    inner_.abort(code, reason);
  }

 private:
  Transport& inner_;
};

using BoundedWaitDeathTest = BoundedWaitTest;

TEST_F(BoundedWaitDeathTest, ASecondTimerEndsARankThatGetsStuckWhileItReports) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        StuckReporting transport(at(1));
        const Ticket ticket =
            transport.post_receive(0, MessageClass::activation, std::span(&back_, 1));
        using std::chrono::milliseconds;
        BoundedWait(program_, transport, milliseconds(1),
                    ReportLimits{milliseconds(10), milliseconds(10), milliseconds(10)})
            .wait(ticket);
      },
      testing::ExitedWithCode(86),
      "rank 1 has waited too long and got stuck while it reported that");
}

// The deadline is for one wait, not for all of them.
TEST_F(BoundedWaitTest, EachWaitHasItsOwnDeadline) {
  const BoundedWait sender = waits(0, generous);
  const BoundedWait receiver = waits(1, generous);
  for (int k = 0; k < 3; ++k) {
    const Ticket receive = at(1).post_receive(0, MessageClass::activation, {&back_, 1});
    sender.wait(at(0).post_send(1, MessageClass::activation, {&there_, 1}));
    receiver.wait(receive);
  }
  EXPECT_EQ(&sender.transport(), &at(0));
}

}  // namespace
}  // namespace dualpipe
