#include "scheduler/arrange/periodic.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// The part of a period that something takes up, from `begin` in [0, period).
struct Busy {
  Time begin{};
  Time length{};
};

// One rank's period, as a circle.
class Circle {
 public:
  explicit Circle(Time period) : period_(period) {}

  [[nodiscard]] bool fits(Time begin, Time length) const {
    return std::ranges::all_of(busy_, [&](const Busy& busy) {
      return around(busy.begin - begin) >= length && around(begin - busy.begin) >= busy.length;
    });
  }

  void add(Time begin, Time length) { busy_.push_back({around(begin), length}); }

  // Where something may begin, from `ready` on: at once, after what is there, or right before it.
  void find_begins(Time ready, Time length, std::vector<Time>& begins) const {
    begins.assign(1, ready);
    for (const Busy& busy : busy_) {
      begins.push_back(ready + around(busy.begin + busy.length - ready));
      begins.push_back(ready + around(busy.begin - length - ready));
    }
    std::ranges::sort(begins);
    const auto repeated = std::ranges::unique(begins);
    begins.erase(repeated.begin(), repeated.end());
  }

  // Whether all of these lengths find a place in the gaps. Requires: longest first.
  [[nodiscard]] bool has_room_for(std::span<const Time> lengths) const {
    std::vector<Time> gaps = find_gaps();
    return pack(gaps, lengths);
  }

 private:
  [[nodiscard]] Time around(Time time) const {
    const Time rest = time % period_;
    return rest < Time{} ? rest + period_ : rest;
  }

  [[nodiscard]] std::vector<Time> find_gaps() const {
    if (busy_.empty()) {
      return {period_};
    }
    std::vector<Busy> sorted = busy_;
    std::ranges::sort(sorted, {}, &Busy::begin);
    std::vector<Time> gaps;
    for (std::size_t busy = 0; busy < sorted.size(); ++busy) {
      const Time end = sorted[busy].begin + sorted[busy].length;
      const Time next =
          busy + 1 < sorted.size() ? sorted[busy + 1].begin : sorted.front().begin + period_;
      if (next > end) {
        gaps.push_back(next - end);
      }
    }
    std::ranges::sort(gaps);
    return gaps;
  }

  // Tries every gap of another size for the longest; there are a handful of either.
  [[nodiscard]] static bool pack(std::vector<Time>& gaps, std::span<const Time> lengths) {
    if (lengths.empty()) {
      return true;
    }
    Time tried{-1};
    for (Time& gap : gaps) {
      if (gap < lengths.front() || gap == tried) {
        continue;
      }
      tried = gap;
      gap -= lengths.front();
      const bool packed = pack(gaps, lengths.subspan(1));
      gap += lengths.front();
      if (packed) {
        return true;
      }
    }
    return false;
  }

  Time period_;
  std::vector<Busy> busy_;
};

// Microbatches that have begun by `time`, if each begins a period after the one before.
std::int64_t begun(Time time, Time first, Time period) {
  const Time since = time - first;
  const std::int64_t periods = since / period;
  return since < Time{} && since % period != Time{} ? periods : periods + 1;
}

// The most that the rank holds, at the begin of one of its forwards.
std::int64_t peak_of(const Tracks& tracks, const PeriodicPlan& plan, int rank) {
  std::int64_t most = 0;
  for (const int at_begin : tracks.of_rank[at(rank)]) {
    // Long after the first microbatch, so that all counts are those of the steady state.
    const Time time = plan.forward[at(at_begin)];
    std::int64_t held = tracks.resident_of(rank);
    for (const int index : tracks.of_rank[at(rank)]) {
      const Track& track = tracks[index];
      const std::int64_t forwards = begun(time, plan.forward[at(index)], plan.period);
      const std::int64_t inputs =
          begun(time, plan.input[at(index)] + track.backward_input, plan.period);
      const std::int64_t weights =
          begun(time, plan.weight[at(index)] + track.backward_weight, plan.period);
      held += (forwards - inputs) * track.activation + (inputs - weights) * track.weight_operands;
    }
    most = std::max(most, held);
  }
  return most;
}

struct Partial {
  PeriodicPlan plan;
  std::vector<Circle> ranks;
  Time waited{};
};

// A way to go on with a partial plan.
struct Extension {
  Time waited{};
  std::size_t partial = 0;
  Time begin{};
};

class Planner {
 public:
  Planner(const Tracks& tracks, Time period, int width)
      : tracks_(tracks), period_(period), width_(at(width)) {}

  [[nodiscard]] std::optional<PeriodicPlan> find();

 private:
  [[nodiscard]] Time ready(const Partial& partial, const Letter& letter) const;
  [[nodiscard]] Time length(const Letter& letter) const;
  void extend(const Letter& letter, const std::vector<Time>& rest);
  [[nodiscard]] std::vector<Time> rest_of(int rank, std::span<const Letter> letters) const;
  [[nodiscard]] bool place_weights(Partial& partial, int rank) const;
  [[nodiscard]] bool try_weights(Partial& partial, int rank, std::span<const int> order) const;

  const Tracks& tracks_;
  Time period_;
  std::size_t width_;
  std::vector<Partial> partials_;
};

Time Planner::length(const Letter& letter) const {
  const Track& track = tracks_[letter.track];
  return letter.kind == OpKind::forward          ? track.forward
         : letter.kind == OpKind::backward_input ? track.backward_input
                                                 : track.backward_weight;
}

Time Planner::ready(const Partial& partial, const Letter& letter) const {
  const Track& track = tracks_[letter.track];
  const PeriodicPlan& plan = partial.plan;
  if (letter.kind == OpKind::forward) {
    return track.previous == Track::none
               ? Time{}
               : plan.forward[at(track.previous)] + tracks_[track.previous].forward +
                     track.from_previous;
  }
  const Time own = plan.forward[at(letter.track)] + track.forward;
  return track.next == Track::none
             ? own
             : std::max(own, plan.input[at(track.next)] + tracks_[track.next].backward_input +
                                 track.from_next);
}

// Lengths of what the rank has still to place besides, longest first.
std::vector<Time> Planner::rest_of(int rank, std::span<const Letter> letters) const {
  std::vector<Time> rest;
  for (const Letter& letter : letters) {
    if (tracks_[letter.track].rank == rank) {
      rest.push_back(length(letter));
    }
  }
  for (const int track : tracks_.of_rank[at(rank)]) {
    rest.push_back(tracks_[track].backward_weight);
  }
  std::ranges::sort(rest, std::greater<>{});
  return rest;
}

// Every partial plan with this letter at its first few places; the `width_` that waited least stay.
void Planner::extend(const Letter& letter, const std::vector<Time>& rest) {
  constexpr int places_max = 3;
  const int rank = tracks_[letter.track].rank;
  std::vector<Extension> extensions;
  std::vector<Time> begins;
  for (std::size_t index = 0; index < partials_.size(); ++index) {
    const Partial& partial = partials_[index];
    const Circle& circle = partial.ranks[at(rank)];
    const Time from = ready(partial, letter);
    circle.find_begins(from, length(letter), begins);
    int places = 0;
    for (const Time begin : begins) {
      if (places == places_max || !circle.fits(begin, length(letter))) {
        continue;
      }
      Circle with = circle;
      with.add(begin, length(letter));
      if (with.has_room_for(rest)) {
        extensions.push_back({partial.waited + (begin - from), index, begin});
        ++places;
      }
    }
  }
  std::ranges::stable_sort(extensions, {}, &Extension::waited);
  extensions.resize(std::min(extensions.size(), width_));
  std::vector<Partial> extended;
  for (const Extension& extension : extensions) {
    Partial& partial = extended.emplace_back(partials_[extension.partial]);
    partial.ranks[at(rank)].add(extension.begin, length(letter));
    partial.waited = extension.waited;
    (letter.kind == OpKind::forward ? partial.plan.forward : partial.plan.input)[at(letter.track)] =
        extension.begin;
  }
  partials_ = std::move(extended);
}

bool Planner::try_weights(Partial& partial, int rank, std::span<const int> order) const {
  Circle& circle = partial.ranks[at(rank)];
  std::vector<Time> begins;
  for (std::size_t placed = 0; placed < order.size(); ++placed) {
    const int index = order[placed];
    std::vector<Time> rest;
    for (const int later : order.subspan(placed + 1)) {
      rest.push_back(tracks_[later].backward_weight);
    }
    std::ranges::sort(rest, std::greater<>{});
    const Time length = tracks_[index].backward_weight;
    circle.find_begins(partial.plan.input[at(index)] + tracks_[index].backward_input, length,
                       begins);
    const auto begin = std::ranges::find_if(begins, [&](Time candidate) {
      Circle with = circle;
      with.add(candidate, length);
      return circle.fits(candidate, length) && with.has_room_for(rest);
    });
    if (begin == begins.end()) {
      return false;
    }
    circle.add(*begin, length);
    partial.plan.weight[at(index)] = *begin;
  }
  return true;
}

// In either order of the rank's tracks; the one that holds less.
bool Planner::place_weights(Partial& partial, int rank) const {
  std::vector<int> order = tracks_.of_rank[at(rank)];
  std::optional<Partial> best;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (int turn = 0; turn < 2; ++turn) {
    Partial attempt = partial;
    if (try_weights(attempt, rank, order) && peak_of(tracks_, attempt.plan, rank) < least) {
      least = peak_of(tracks_, attempt.plan, rank);
      best = std::move(attempt);
    }
    std::ranges::reverse(order);
  }
  if (!best || least > tracks_.limit) {
    return false;
  }
  partial = std::move(*best);
  return true;
}

std::optional<PeriodicPlan> Planner::find() {
  const int tracks = static_cast<int>(tracks_.tracks.size());
  std::vector<Letter> letters;
  for (int track = 0; track < tracks; ++track) {
    letters.push_back({OpKind::forward, track});
  }
  for (int track = tracks - 1; track >= 0; --track) {
    letters.push_back({OpKind::backward_input, track});
  }
  const std::vector<Time> none(at(tracks));
  partials_.assign(1, {.plan = {.period = period_, .forward = none, .input = none, .weight = none},
                       .ranks = std::vector<Circle>(at(tracks_.ranks()), Circle(period_))});
  for (std::size_t next = 0; next < letters.size() && !partials_.empty(); ++next) {
    const int rank = tracks_[letters[next].track].rank;
    extend(letters[next], rest_of(rank, std::span(letters).subspan(next + 1)));
  }
  for (Partial& partial : partials_) {
    bool held = true;
    for (int rank = 0; rank < tracks_.ranks() && held; ++rank) {
      held = place_weights(partial, rank);
    }
    if (held) {
      return std::move(partial.plan);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<PeriodicPlan> find_periodic_plan(const Tracks& tracks, Time period, int width) {
  return Planner(tracks, period, width).find();
}

std::vector<std::int64_t> peaks_of(const Tracks& tracks, const PeriodicPlan& plan) {
  std::vector<std::int64_t> peaks;
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    peaks.push_back(peak_of(tracks, plan, rank));
  }
  return peaks;
}

Words words_of(const Tracks& tracks, const PeriodicPlan& plan) {
  struct Start {
    Time time{};
    Letter letter;
  };
  Words words;
  for (const std::vector<int>& of_rank : tracks.of_rank) {
    std::vector<Start> starts;
    for (const int index : of_rank) {
      for (int microbatch = 0; microbatch < tracks[index].microbatches; ++microbatch) {
        const Time later = microbatch * plan.period;
        starts.push_back({plan.forward[at(index)] + later, {OpKind::forward, index}});
        starts.push_back({plan.input[at(index)] + later, {OpKind::backward_input, index}});
        starts.push_back({plan.weight[at(index)] + later, {OpKind::backward_weight, index}});
      }
    }
    std::ranges::stable_sort(starts, {}, &Start::time);
    Word& word = words.emplace_back();
    for (const Start& start : starts) {
      word.push_back(start.letter);
    }
  }
  return words;
}

}  // namespace dualpipe
