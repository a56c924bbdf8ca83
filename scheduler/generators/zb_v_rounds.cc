#include "scheduler/generators/zb_v_rounds.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
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

// Where a weight half is taken though the gap is shorter than it.
struct Levelling {
  bool before_forwards = false;
  bool before_inputs = false;
  Time tolerated{};  // idle time that any rank may come to
};

class Rounds {
 public:
  Rounds(const Tracks& tracks, const Levelling& levelling)
      : tracks_(tracks),
        levelling_(levelling),
        microbatches_(tracks.tracks.front().microbatches),
        state_(tracks.tracks.size()),
        ranks_(at(tracks.ranks())),
        words_(ranks_.size()) {
    for (int rank = 0; rank < tracks.ranks(); ++rank) {
      ranks_[at(rank)].held = tracks.resident_of(rank);
    }
  }

  // None at a stand-still.
  [[nodiscard]] std::optional<Words> run();
  [[nodiscard]] Time longest_idle() const;

 private:
  static constexpr Time unknown{-1};

  struct TrackState {
    std::vector<Time> forward_end;
    std::vector<Time> input_end;
    int weights = 0;

    [[nodiscard]] int forwards() const { return static_cast<int>(forward_end.size()); }
    [[nodiscard]] int inputs() const { return static_cast<int>(input_end.size()); }
  };
  struct RankState {
    Time clock{};
    Time idle{};
    bool begun = false;
    std::int64_t held = 0;
  };

  [[nodiscard]] int early(int rank) const { return rank; }
  [[nodiscard]] int late(int rank) const { return 2 * tracks_.ranks() - 1 - rank; }
  [[nodiscard]] Time forward_ready(int track) const;
  [[nodiscard]] Time input_ready(int track) const;
  [[nodiscard]] int weight_track(int rank) const;
  [[nodiscard]] bool make_room(int rank, std::int64_t more);
  void fill_gap(int rank, Time ready, bool level);
  bool put_forward(int track);
  bool put_input(int track);
  void put_weight(int track);
  void begin_at(int rank, Time ready);

  void fill_v();
  void even_out();
  bool put_inputs();
  bool put_forwards();

  const Tracks& tracks_;
  Levelling levelling_;
  int microbatches_;
  std::vector<TrackState> state_;
  std::vector<RankState> ranks_;
  Words words_;
};

Time Rounds::longest_idle() const {
  return std::ranges::max(ranks_, {}, &RankState::idle).idle;
}

// When the next forward of the track could begin; unknown if what it reads has no time yet.
Time Rounds::forward_ready(int track) const {
  const int k = state_[at(track)].forwards();
  if (k >= microbatches_) {
    return unknown;
  }
  const int previous = tracks_[track].previous;
  if (previous == Track::none) {
    return Time{};
  }
  return state_[at(previous)].forwards() > k
             ? state_[at(previous)].forward_end[at(k)] + tracks_[track].from_previous
             : unknown;
}

Time Rounds::input_ready(int track) const {
  const int k = state_[at(track)].inputs();
  if (k >= state_[at(track)].forwards()) {
    return unknown;
  }
  const int next = tracks_[track].next;
  if (next == Track::none) {
    return state_[at(track)].forward_end[at(k)];
  }
  return state_[at(next)].inputs() > k
             ? state_[at(next)].input_end[at(k)] + tracks_[track].from_next
             : unknown;
}

// Of the rank's tracks with a weight half waiting, that which has waited longest.
int Rounds::weight_track(int rank) const {
  int found = Track::none;
  for (const int track : {late(rank), early(rank)}) {
    const TrackState& state = state_[at(track)];
    if (state.weights < state.inputs() &&
        (found == Track::none || state.input_end[at(state.weights)] <
                                     state_[at(found)].input_end[at(state_[at(found)].weights)])) {
      found = track;
    }
  }
  return found;
}

void Rounds::begin_at(int rank, Time ready) {
  RankState& own = ranks_[at(rank)];
  if (ready > own.clock) {
    own.idle += own.begun ? ready - own.clock : Time{};
    own.clock = ready;
  }
  own.begun = true;
}

void Rounds::put_weight(int track) {
  RankState& own = ranks_[at(tracks_[track].rank)];
  own.clock += tracks_[track].backward_weight;
  own.held -= tracks_[track].weight_operands;
  ++state_[at(track)].weights;
  words_[at(tracks_[track].rank)].push_back({OpKind::backward_weight, track});
}

// Weight halves, until the rank can hold so much more.
bool Rounds::make_room(int rank, std::int64_t more) {
  while (ranks_[at(rank)].held + more > tracks_.limit) {
    const int weight = weight_track(rank);
    if (weight == Track::none) {
      return false;
    }
    put_weight(weight);
  }
  return true;
}

// Weight halves until `ready`: those that fit; and with `level` one that does not, if waiting would
// make this rank idle for longer than any other has been.
void Rounds::fill_gap(int rank, Time ready, bool level) {
  RankState const& own = ranks_[at(rank)];
  for (int weight = weight_track(rank);
       weight != Track::none && ready - own.clock >= tracks_[weight].backward_weight;
       weight = weight_track(rank)) {
    put_weight(weight);
  }
  const int weight = weight_track(rank);
  if (level && weight != Track::none && ready > own.clock &&
      own.idle + (ready - own.clock) > std::max(longest_idle(), levelling_.tolerated)) {
    put_weight(weight);
  }
}

bool Rounds::put_forward(int track) {
  const int rank = tracks_[track].rank;
  const Time ready = forward_ready(track);
  if (ready == unknown || !make_room(rank, tracks_[track].activation)) {
    return false;
  }
  fill_gap(rank, ready, levelling_.before_forwards);
  begin_at(rank, ready);
  RankState& own = ranks_[at(rank)];
  own.clock += tracks_[track].forward;
  own.held += tracks_[track].activation;
  state_[at(track)].forward_end.push_back(own.clock);
  words_[at(rank)].push_back({OpKind::forward, track});
  return true;
}

bool Rounds::put_input(int track) {
  const int rank = tracks_[track].rank;
  const Time ready = input_ready(track);
  const std::int64_t more = tracks_[track].weight_operands - tracks_[track].activation;
  if (ready == unknown || !make_room(rank, more)) {
    return false;
  }
  fill_gap(rank, ready, levelling_.before_inputs);
  begin_at(rank, ready);
  RankState& own = ranks_[at(rank)];
  own.clock += tracks_[track].backward_input;
  own.held += more;
  state_[at(track)].input_end.push_back(own.clock);
  words_[at(rank)].push_back({OpKind::backward_input, track});
  return true;
}

// Microbatch 0 goes down and up again; while it is below a rank, that rank and those above it take
// in more, as many as memory and the time until it comes back allow.
void Rounds::fill_v() {
  const int last = tracks_.ranks() - 1;
  for (int rank = 0; rank <= last; ++rank) {
    put_forward(early(rank));
  }
  for (int rank = last; rank >= 0; --rank) {
    const Time back = forward_ready(late(rank));
    const Track& track = tracks_[early(rank)];
    // Room must stay for the late forwards that come before the first activation is freed.
    const std::int64_t reserve = track.activation * (2 + 2 * rank);
    bool put = rank < last;
    while (put && ranks_[at(rank)].held + reserve <= tracks_.limit &&
           ranks_[at(rank)].clock + track.forward <= back) {
      for (int above = 0; above <= rank; ++above) {
        put = put_forward(early(above));  // A rank above may be out of room; so is this one then.
      }
    }
    put_forward(late(rank));
  }
}

// Every rank comes to as many forwards as the one above it, early and late in turn.
void Rounds::even_out() {
  const auto forwards = [&](int rank) {
    return state_[at(early(rank))].forwards() + state_[at(late(rank))].forwards();
  };
  bool is_late = false;
  for (int rank = 1; rank < tracks_.ranks(); ++rank) {
    const auto lags = [&] {
      const int above = state_[at(late(rank - 1))].forwards();
      return forwards(rank) < forwards(rank - 1) ||
             (state_[at(late(rank))].forwards() <= above && above < microbatches_);
    };
    int refused = 0;
    while (lags() && refused < 2) {
      bool put = false;
      for (int below = tracks_.ranks() - 1; below >= rank; --below) {
        put = put_forward(is_late ? late(below) : early(below)) || put;
      }
      refused = put ? 0 : refused + 1;
      is_late = !is_late;
    }
  }
}

// One input half on every rank: of the early stage where its gradient is on its way, from the last
// rank up; else of the late stage, from the first rank down.
bool Rounds::put_inputs() {
  std::vector<int> chosen;
  for (int rank = tracks_.ranks() - 1; rank >= 0; --rank) {
    const bool is_early = input_ready(early(rank)) != unknown;
    if (is_early) {
      chosen.push_back(early(rank));
    }
  }
  std::vector<bool> taken(ranks_.size(), false);
  for (const int track : chosen) {
    taken[at(tracks_[track].rank)] = true;
  }
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    if (!taken[at(rank)]) {
      chosen.push_back(late(rank));
    }
  }
  bool put = false;
  for (const int track : chosen) {
    put = put_input(track) || put;
  }
  return put;
}

// One forward on every rank: of the late stage where its activation is on its way.
bool Rounds::put_forwards() {
  bool put = false;
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    const bool is_late = forward_ready(late(rank)) != unknown;
    put = put_forward(is_late ? late(rank) : early(rank)) || put;
  }
  return put;
}

std::optional<Words> Rounds::run() {
  fill_v();
  even_out();
  while (true) {
    const bool inputs = put_inputs();
    const bool forwards = put_forwards();
    if (!inputs && !forwards) {
      break;
    }
  }
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    for (int track = weight_track(rank); track != Track::none; track = weight_track(rank)) {
      put_weight(track);
    }
  }
  for (const TrackState& state : state_) {
    if (state.weights < microbatches_) {
      return std::nullopt;
    }
  }
  return std::move(words_);
}

}  // namespace

std::vector<Words> zb_v_rounds(const Tracks& tracks) {
  std::vector<Words> schedules;
  for (const bool before_forwards : {false, true}) {
    for (const bool before_inputs : {false, true}) {
      Time tolerated{};
      // What one attempt has come to is what the next one tolerates from the beginning.
      for (int attempt = 0; attempt < 3; ++attempt) {
        Rounds rounds(tracks, {.before_forwards = before_forwards,
                               .before_inputs = before_inputs,
                               .tolerated = tolerated});
        if (std::optional<Words> words = rounds.run()) {
          schedules.push_back(std::move(*words));
        }
        if (rounds.longest_idle() == tolerated) {
          break;  // The next would be the same.
        }
        tolerated = rounds.longest_idle();
      }
    }
  }
  return schedules;
}

}  // namespace dualpipe
