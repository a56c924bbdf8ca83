#include "runtime/status_round.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "costs/check.h"
#include "runtime/status.h"

namespace dualpipe {

StatusRound::StatusRound(int rank, int ranks)
    : rank_(rank), statuses_(static_cast<std::size_t>(ranks)) {
  CHECK(0 <= rank && rank < ranks);
}

bool StatusRound::ask(const RankStatus& own) {
  if (state_ == State::yielded) {
    return false;
  }
  std::fill(statuses_.begin(), statuses_.end(), std::nullopt);
  statuses_[static_cast<std::size_t>(rank_)] = own;
  state_ = State::asking;
  settle();
  return true;
}

// A higher rank that asked at the same time gets no answer from this one: our question is on its
// way to it, ahead of anything else we could say, and makes it yield.
bool StatusRound::hear_question(int asker) {
  CHECK(asker != rank_);
  if (state_ == State::asking && rank_ < asker) {
    return false;
  }
  state_ = State::yielded;
  return true;
}

void StatusRound::hear_answer(int answerer, const RankStatus& status) {
  statuses_[static_cast<std::size_t>(answerer)] = status;
  settle();
}

void StatusRound::settle() {
  const bool complete = std::all_of(statuses_.begin(), statuses_.end(),
                                    [](const auto& status) { return status.has_value(); });
  if (state_ == State::asking && complete) {
    state_ = State::answered;
  }
}

}  // namespace dualpipe
