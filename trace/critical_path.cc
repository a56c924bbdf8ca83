#include "trace/critical_path.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr std::int32_t none = -1;
constexpr RankSlot nowhere{.rank = none, .slot = none};

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

Chains::Chains(const Timeline& timeline) : timeline_(timeline) {
  begin_ = Time::max();
  for (const std::vector<Span>& spans : timeline.ranks) {
    begin_ = spans.empty() ? begin_ : std::min(begin_, spans.front().begin);
    slots_ += spans.size();
  }
  find_writers();
  find_transfers();
}

std::size_t Chains::place_of(const Value& value) const {
  const std::size_t row =
      at(static_cast<int>(value.kind)) * at(timeline_.pipeline.stages()) + at(value.stage);
  return row * at(timeline_.pipeline.microbatches()) + at(value.microbatch);
}

const Span& Chains::span_of(const RankSlot& slot) const {
  return timeline_.ranks[at(slot.rank)][at(slot.slot)];
}

void Chains::find_writers() {
  constexpr std::size_t value_kinds = 3;
  const Pipeline& pipeline = timeline_.pipeline;
  writers_.assign(value_kinds * at(pipeline.stages()) * at(pipeline.microbatches()), nowhere);
  for (int rank = 0; rank < pipeline.ranks(); ++rank) {
    const std::vector<Span>& spans = timeline_.ranks[at(rank)];
    for (std::size_t slot = 0; slot < spans.size(); ++slot) {
      for (const Op& op : spans[slot].slot) {
        for (const Value& value : writes(op)) {
          writers_[place_of(value)] = {.rank = rank, .slot = static_cast<int>(slot)};
        }
      }
    }
  }
}

void Chains::find_transfers() {
  transfers_.assign(writers_.size(), none);
  ended_.resize(timeline_.ranks.size());
  for (std::size_t index = 0; index < timeline_.transfers.size(); ++index) {
    const Transfer& transfer = timeline_.transfers[index];
    transfers_[place_of(transfer.value)] = static_cast<std::int32_t>(index);
    ended_[at(transfer.source)].push_back(static_cast<std::int32_t>(index));
    ended_[at(transfer.destination)].push_back(static_cast<std::int32_t>(index));
  }
  for (std::vector<std::int32_t>& ended : ended_) {
    std::ranges::sort(ended, [&](std::int32_t one, std::int32_t other) {
      const Time end = timeline_.transfers[at(one)].end;
      const Time other_end = timeline_.transfers[at(other)].end;
      return end != other_end ? end < other_end : one < other;
    });
  }
  for (int rank = 0; rank < timeline_.pipeline.ranks(); ++rank) {
    for (const Span& span : timeline_.ranks[at(rank)]) {
      for (const Op& op : span.slot) {
        for (const Value& value : reads(op, timeline_.pipeline.stages())) {
          const std::size_t place = place_of(value);
          CHECK(writers_[place] != nowhere);
          if (writers_[place].rank != rank && transfers_[place] == none) {
            throw Error(ExitCode::invalid_schedule,
                        fmt::format("transfers: expected one for every message; found none for "
                                    "{}, which rank {} reads; record them with the timeline",
                                    to_string(value), rank));
          }
        }
      }
    }
  }
}

// What stays on its rank was written by a slot that ended before the one before this.
Chains::Holder Chains::holder_of(const RankSlot& slot, Tie tie) const {
  Holder holder;
  if (slot.slot > 0) {
    const RankSlot previous{.rank = slot.rank, .slot = slot.slot - 1};
    holder = {Holder::Kind::slot, at(previous.slot), span_of(previous).end};
  }
  for (const Op& op : span_of(slot).slot) {
    for (const Value& value : reads(op, timeline_.pipeline.stages())) {
      const std::size_t place = place_of(value);
      if (writers_[place].rank == slot.rank) {
        continue;
      }
      const std::size_t index = at(transfers_[place]);
      const Time arrival = timeline_.transfers[index].end;
      const bool is_first =
          holder.kind == Holder::Kind::nothing ||
          (holder.kind == Holder::Kind::slot && tie == Tie::message && arrival == holder.until);
      if (is_first || arrival > holder.until) {
        holder = {Holder::Kind::transfer, index, arrival};
      }
    }
  }
  return holder;
}

// Where transfers keep a rank from computing, a slot begins at the instant when one of them ends,
// though it may not read what was transferred. Clocks of a measured timeline never agree so well.
Chains::Holder Chains::blocking_transfer(const RankSlot& slot) const {
  const Time begin = span_of(slot).begin;
  const std::vector<std::int32_t>& ended = ended_[at(slot.rank)];
  auto found = std::ranges::lower_bound(
      ended, begin, {}, [&](std::int32_t index) { return timeline_.transfers[at(index)].end; });
  for (; found != ended.end() && timeline_.transfers[at(*found)].end == begin; ++found) {
    if (timeline_.transfers[at(*found)].begin < begin) {
      return {Holder::Kind::transfer, at(*found), begin};
    }
  }
  return {};
}

// nowhere if there is none.
RankSlot Chains::slot_ending_at(int rank, Time time) const {
  const std::vector<Span>& spans = timeline_.ranks[at(rank)];
  const auto after = std::ranges::upper_bound(spans, time, {}, &Span::end);
  if (after == spans.begin() || std::prev(after)->end != time) {
    return nowhere;
  }
  return {.rank = rank, .slot = static_cast<int>(std::prev(after) - spans.begin())};
}

// What a transfer that `reader` waited for had waited for itself: the slot that wrote it; or, where
// its receiver came later, the slot there. A message that is noticed after its reader has begun may
// seem to wait for the reader.
RankSlot Chains::sent_after(const Transfer& transfer, const RankSlot& reader) const {
  const RankSlot writer = writers_[place_of(transfer.value)];
  const bool waited = transfer.begin > span_of(writer).end && transfer.begin < transfer.end;
  const RankSlot receiver = waited ? slot_ending_at(transfer.destination, transfer.begin) : nowhere;
  const bool is_later = receiver.rank == reader.rank && receiver.slot >= reader.slot;
  return receiver == nowhere || is_later ? writer : receiver;
}

// Follows the chain back from the begin of `slot` to `from`. Every turn takes one holder; a piece
// that the clocks of two ranks make overlap the one after it is cut. A chain passes no slot twice,
// but where clocks disagree with the order of messages it might never end: so many turns are
// enough, and what is left is unexplained.
void Chains::follow(RankSlot slot, Tie tie, Time from, std::vector<Piece>& pieces) const {
  Time to = span_of(slot).begin;
  const auto add = [&](Piece piece) {
    piece.end = to;
    piece.whole = piece.end - piece.begin;
    piece.begin = std::clamp(piece.begin, from, to);
    to = piece.begin;
    if (piece.begin < piece.end) {
      pieces.push_back(piece);
    }
  };
  for (std::size_t turns = 0; to > from; ++turns) {
    if (turns > slots_) {
      add({.kind = Piece::Kind::unexplained, .slot = slot, .begin = from});
      return;
    }
    Holder holder = holder_of(slot, tie);
    if (holder.kind == Holder::Kind::nothing || holder.until < to) {
      const Holder blocking = blocking_transfer(slot);
      holder = blocking.kind == Holder::Kind::nothing ? holder : blocking;
    }
    if (holder.kind == Holder::Kind::nothing || holder.until < to) {
      const bool nothing = holder.kind == Holder::Kind::nothing;
      add({.kind = Piece::Kind::unexplained, .slot = slot, .begin = nothing ? from : holder.until});
    }
    if (holder.kind == Holder::Kind::slot) {
      slot = {.rank = slot.rank, .slot = static_cast<int>(holder.index)};
    } else if (holder.kind == Holder::Kind::transfer) {
      const Transfer& transfer = timeline_.transfers[holder.index];
      const RankSlot writer = writers_[place_of(transfer.value)];
      slot = sent_after(transfer, slot);
      add({.kind = Piece::Kind::transfer,
           .slot = writer,
           .destination = transfer.destination,
           .begin = span_of(slot).end});
    }
    if (holder.kind != Holder::Kind::nothing) {
      add({.kind = Piece::Kind::slot, .slot = slot, .begin = span_of(slot).begin});
    }
  }
}

std::vector<Piece> Chains::before(const RankSlot& slot, Time from) const {
  std::vector<Piece> pieces;
  follow(slot, Tie::message, from, pieces);
  return pieces;
}

std::vector<Piece> Chains::last(Tie tie) const {
  RankSlot last = nowhere;
  for (int rank = 0; rank < timeline_.pipeline.ranks(); ++rank) {
    const std::vector<Span>& spans = timeline_.ranks[at(rank)];
    if (!spans.empty() && (last == nowhere || spans.back().end > span_of(last).end)) {
      last = {.rank = rank, .slot = static_cast<int>(spans.size()) - 1};
    }
  }
  return last == nowhere ? std::vector<Piece>{} : chain_of(last, tie);
}

std::vector<Piece> Chains::chain_of(RankSlot slot, Tie tie) const {
  std::vector<Piece> pieces;
  const Span& span = span_of(slot);
  if (span.begin < span.end) {
    pieces.push_back({.kind = Piece::Kind::slot,
                      .slot = slot,
                      .begin = span.begin,
                      .end = span.end,
                      .whole = span.duration()});
  }
  follow(slot, tie, begin_, pieces);
  return pieces;
}

// The last slot or part of the tail to end by then; one of no length where there is none.
Piece Chains::ended_by(Time time, int rank) const {
  Piece best;  // times of a timeline are never before 0
  const auto order_of = [&](const Piece& piece, bool waits) {
    const bool is_elsewhere = piece.slot.rank != rank && !waits;
    return std::tuple(-piece.end, waits, is_elsewhere, waits ? piece.duration() : Time{},
                      piece.slot.rank);
  };
  auto best_order = order_of(best, true);
  const auto offer = [&](const Piece& piece, bool waits) {
    if (piece.end <= time && piece.begin < piece.end && order_of(piece, waits) < best_order) {
      best = piece;
      best_order = order_of(piece, waits);
    }
  };
  for (std::size_t index = 0; index < timeline_.tail.size(); ++index) {
    const TailSpan& span = timeline_.tail[index];
    offer({.kind = Piece::Kind::tail,
           .slot = {.rank = span.rank, .slot = static_cast<int>(index)},
           .begin = span.begin,
           .end = span.end,
           .whole = span.end - span.begin},
          span.kind == TailKind::gradient_norm);
  }
  for (int other = 0; other < timeline_.pipeline.ranks(); ++other) {
    const std::vector<Span>& spans = timeline_.ranks[at(other)];
    auto found = std::ranges::upper_bound(spans, time, {}, &Span::end);
    while (found != spans.begin() && std::prev(found)->duration() == Time{}) {
      --found;  // It takes no time, and is no piece.
    }
    if (found != spans.begin()) {
      --found;
      offer({.kind = Piece::Kind::slot,
             .slot = {.rank = other, .slot = static_cast<int>(found - spans.begin())},
             .begin = found->begin,
             .end = found->end,
             .whole = found->duration()},
            false);
    }
  }
  return best;
}

std::vector<Piece> Chains::whole_step() const {
  constexpr Time end_of_step = Time::max();
  std::vector<Piece> pieces;
  Piece piece = ended_by(end_of_step, none);
  while (piece.kind == Piece::Kind::tail) {
    pieces.push_back(piece);
    piece = ended_by(piece.begin, piece.slot.rank);
    if (piece.begin == piece.end) {
      return pieces;
    }
    pieces.back().begin = piece.end;  // Where nothing ended at that moment, it waited since then.
  }
  if (piece.begin < piece.end) {
    const std::vector<Piece> slots = chain_of(piece.slot, Tie::slot);
    pieces.insert(pieces.end(), slots.begin(), slots.end());
  }
  return pieces;
}

std::vector<Piece> critical_path(const Timeline& timeline) {
  std::vector<Piece> pieces = Chains(timeline).whole_step();
  std::ranges::reverse(pieces);
  return pieces;
}

}  // namespace dualpipe
