// When nothing moves any more, several ranks notice at once; one of them should ask all the others
// what they are doing and report. These are the rules, without the messages: whoever is asked
// before it has asked leaves the report to the asker; of those who asked at the same time the
// lowest rank reports. Messages between two ranks must keep their order.

#pragma once

#include <optional>
#include <vector>

#include "runtime/status.h"

namespace dualpipe {

// One rank's part; by one thread at a time. There is one round in a job: it ends with an abort.
class StatusRound {
 public:
  enum class State { idle, asking, answered, yielded };

  // Requires: 0 <= rank < ranks.
  StatusRound(int rank, int ranks);

  // This rank wants to report. True: send a question to every other rank.
  [[nodiscard]] bool ask(const RankStatus& own);
  // A question has come. True: answer it.
  [[nodiscard]] bool hear_question(int asker);
  void hear_answer(int answerer, const RankStatus& status);

  // idle: nobody has asked; asking: answers are missing; answered: all ranks have; yielded: another
  // rank reports.
  [[nodiscard]] State state() const { return state_; }
  // [rank]; nothing where no answer has come.
  [[nodiscard]] const std::vector<std::optional<RankStatus>>& statuses() const { return statuses_; }

 private:
  void settle();

  int rank_;
  State state_ = State::idle;
  std::vector<std::optional<RankStatus>> statuses_;
};

}  // namespace dualpipe
