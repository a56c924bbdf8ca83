// What held up what in a timeline: for every slot, the slot before it on its rank or the message
// that it waited for, whichever came last; from there on back, a chain without holes to the
// beginning of the step. The chain that ends last is the critical path. Idle time is explained by
// the same chains (attribution.h).
//
// Dependences are derived from reads() and writes() and the times of the timeline alone, so that
// predicted and measured timelines are explained alike, whatever model of the network they are
// from.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "trace/timeline.h"

namespace dualpipe {

// One link of a chain.
struct Piece {
  enum class Kind : std::uint8_t {
    slot,         // it ran
    transfer,     // what it wrote travelled, or waited to
    tail,         // what follows the slots: `slot.slot` is its place in Timeline::tail
    unexplained,  // nothing that the timeline shows kept it from beginning, but it had not begun
  };
  Kind kind = Kind::slot;
  RankSlot slot;         // that ran; that wrote what travelled; that had not begun
  int destination = -1;  // of a transfer: the rank
  Time begin{};
  Time end{};
  Time whole{};  // how long it took in all: more than duration() where its begin is cut off

  [[nodiscard]] Time duration() const { return end - begin; }
  bool operator==(const Piece&) const = default;
};

class Chains {
 public:
  // Requires: schedule_of(timeline) compiles; `timeline` outlives this.
  // Throws Error (invalid_schedule) naming the first message of which the timeline has no transfer.
  explicit Chains(const Timeline& timeline);

  // What is followed where a slot begins at the very moment that the one before it on its rank ends
  // and a message arrives: the microbatch's way through the ranks, or the rank's own work.
  enum class Tie : std::uint8_t { message, slot };

  // From the begin of `slot` back to `from`, latest piece first; together they cover that time
  // without holes or overlaps. Pieces are cut at `from`. Of messages that arrive together the one
  // that is read first is followed, and a message rather than the slot before.
  [[nodiscard]] std::vector<Piece> before(const RankSlot& slot, Time from) const;

  // As before(), from the end of the step, its tail included. What is in the tail follows what
  // ended when it began: on its own rank first, and waits for the gradient norm last, of which the
  // shortest is that of the rank that was waited for.
  [[nodiscard]] std::vector<Piece> whole_step() const;

  // As before(), from the end of the last slot to end (on the lowest rank, of several) back to the
  // begin of the first.
  [[nodiscard]] std::vector<Piece> last(Tie tie) const;

 private:
  // What a slot waited for last.
  struct Holder {
    enum class Kind : std::uint8_t { nothing, slot, transfer };
    Kind kind = Kind::nothing;
    std::size_t index = 0;  // of the slot before on its rank; of the transfer
    Time until{};
  };

  void find_writers();
  void find_transfers();
  [[nodiscard]] std::size_t place_of(const Value& value) const;
  [[nodiscard]] const Span& span_of(const RankSlot& slot) const;
  [[nodiscard]] Holder holder_of(const RankSlot& slot, Tie tie) const;
  [[nodiscard]] Holder blocking_transfer(const RankSlot& slot) const;
  [[nodiscard]] RankSlot slot_ending_at(int rank, Time time) const;
  [[nodiscard]] RankSlot sent_after(const Transfer& transfer, const RankSlot& reader) const;
  [[nodiscard]] Piece ended_by(Time time, int rank) const;
  [[nodiscard]] std::vector<Piece> chain_of(RankSlot slot, Tie tie) const;
  void follow(RankSlot slot, Tie tie, Time from, std::vector<Piece>& pieces) const;

  const Timeline& timeline_;
  Time begin_{};
  std::size_t slots_ = 0;
  std::vector<RankSlot> writers_;                 // by place_of(value)
  std::vector<std::int32_t> transfers_;           // likewise: index into the timeline's, or -1
  std::vector<std::vector<std::int32_t>> ended_;  // [rank]: transfers from or to it, by end
};

// What determined the step time: from the begin of the first slot to the end of the step, in order
// of time, staying on a rank where it can. Requires and throws what Chains does.
[[nodiscard]] std::vector<Piece> critical_path(const Timeline& timeline);

}  // namespace dualpipe
