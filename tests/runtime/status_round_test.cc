#include "runtime/status_round.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/status.h"

namespace dualpipe {
namespace {

using State = StatusRound::State;

// Ranks that send each other questions and answers; messages between two ranks keep their order,
// those of different ranks arrive as chance has it.
class Round {
 public:
  explicit Round(int ranks)
      : links_(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks)) {
    for (int rank = 0; rank < ranks; ++rank) {
      ranks_.emplace_back(rank, ranks);
    }
  }

  StatusRound& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  void ask(int asker) {
    if (at(asker).ask({.index = asker})) {
      for (int rank = 0; rank < count(); ++rank) {
        if (rank != asker) {
          link(asker, rank).push_back({.answer = false});
        }
      }
    }
  }

  void deliver_all(std::mt19937_64& random) {
    for (;;) {
      std::vector<std::size_t> busy;
      for (std::size_t k = 0; k < links_.size(); ++k) {
        if (!links_[k].empty()) {
          busy.push_back(k);
        }
      }
      if (busy.empty()) {
        return;
      }
      deliver(busy[random() % busy.size()]);
    }
  }

  [[nodiscard]] std::string states() const {
    std::string text;
    for (const StatusRound& rank : ranks_) {
      text += "iaAy"[static_cast<int>(rank.state())];
    }
    return text;
  }

 private:
  struct Message {
    bool answer = false;
  };
  [[nodiscard]] int count() const { return static_cast<int>(ranks_.size()); }
  std::deque<Message>& link(int from, int to) {
    return links_[static_cast<std::size_t>(from) * ranks_.size() + static_cast<std::size_t>(to)];
  }
  void deliver(std::size_t position) {
    const int from = static_cast<int>(position) / count();
    const int to = static_cast<int>(position) % count();
    const Message message = links_[position].front();
    links_[position].pop_front();
    if (message.answer) {
      at(to).hear_answer(from, {.index = from});
    } else if (at(to).hear_question(from)) {
      link(to, from).push_back({.answer = true});
    }
  }

  std::vector<StatusRound> ranks_;
  std::vector<std::deque<Message>> links_;  // [from][to]
};

TEST(StatusRound, OneAskerLearnsAll) {
  Round round(3);
  std::mt19937_64 random(1);
  round.ask(1);
  EXPECT_EQ(round.at(1).state(), State::asking);
  round.deliver_all(random);
  EXPECT_EQ(round.states(), "yAy");
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    const auto& status = round.at(1).statuses()[static_cast<std::size_t>(rank)];
    EXPECT_EQ(status.value_or(RankStatus{.index = -1}).index, rank);
  }
}

TEST(StatusRound, WhoeverWasAskedDoesNotAskAnyMore) {
  Round round(3);
  std::mt19937_64 random(1);
  round.ask(2);
  round.deliver_all(random);
  round.ask(0);
  round.deliver_all(random);
  EXPECT_EQ(round.states(), "yyA");
}

TEST(StatusRound, OneRankAloneHasItsAnswerAtOnce) {
  Round round(1);
  round.ask(0);
  EXPECT_EQ(round.states(), "A");
}

TEST(StatusRound, ASilentRankLeavesTheRoundOpen) {
  StatusRound round(0, 3);
  EXPECT_TRUE(round.ask({}));
  round.hear_answer(1, {});
  EXPECT_EQ(round.state(), State::asking);
  EXPECT_TRUE(round.statuses()[1]);
  EXPECT_FALSE(round.statuses()[2]);
}

// All ask at once, in every order of delivery that chance finds: the lowest reports, nobody else.
TEST(StatusRound, OfThoseWhoAskAtOnceTheLowestReports) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    std::mt19937_64 random(seed);
    Round round(4);
    std::vector<int> askers{1, 2, 3};
    std::ranges::shuffle(askers, random);
    for (const int asker : askers) {
      round.ask(asker);
    }
    round.deliver_all(random);
    ASSERT_EQ(round.states(), "yAyy") << "seed " << seed;
  }
}

// Some ask while questions of others are under way: exactly one has all answers in the end.
TEST(StatusRound, ExactlyOneReportsWheneverTheyAsk) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    std::mt19937_64 random(seed);
    Round round(5);
    for (int k = 0; k < 5; ++k) {
      round.ask(static_cast<int>(random() % 5));
      if (random() % 3 == 0) {
        round.deliver_all(random);
      }
    }
    round.deliver_all(random);
    const std::string states = round.states();
    ASSERT_EQ(std::ranges::count(states, 'A'), 1) << "seed " << seed << ": " << states;
  }
}

}  // namespace
}  // namespace dualpipe
