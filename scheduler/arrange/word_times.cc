#include "scheduler/arrange/word_times.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

WordTimes::WordTimes(const Tracks& tracks) : tracks_(tracks) {
  for (const Track& track : tracks.tracks) {
    stride_ = std::max(stride_, at(track.microbatches));
  }
  done_.resize(tracks.tracks.size() * stride_);
  state_.resize(tracks.tracks.size());
  ranks_.resize(at(tracks.ranks()));
  reasons_.resize(ranks_.size());
  sequence_.resize(ranks_.size());
}

void WordTimes::reset(const Words& words) {
  std::ranges::fill(state_, TrackState{});
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    ranks_[at(rank)] = RankState{.queued = true};
    ranks_[at(rank)].held = tracks_.resident_of(rank);
  }
  ready_.clear();
  for (int rank = tracks_.ranks() - 1; rank >= 0; --rank) {
    reasons_[at(rank)].resize(words[at(rank)].size());
    sequence_[at(rank)].resize(words[at(rank)].size());
    ready_.push_back(rank);
  }
}

void WordTimes::wake(int track, int rank) {
  if (track == Track::none) {
    return;
  }
  const int other = tracks_[track].rank;
  if (other != rank && !ranks_[at(other)].queued) {
    ranks_[at(other)].queued = true;
    ready_.push_back(other);
  }
}

WordTimes::Outcome WordTimes::forward(int index, int rank) {
  const Track& track = tracks_[index];
  RankState& own = ranks_[at(rank)];
  const int k = state_[at(index)].forwards;
  Reason reason = Reason::order;
  if (track.previous != Track::none) {
    if (state_[at(track.previous)].forwards <= k) {
      return Outcome::waits;
    }
    const Time arrived = done(track.previous, k).forward + track.from_previous;
    if (arrived > own.clock) {
      own.clock = arrived;
      reason = Reason::activation;
    }
  }
  own.held += track.activation;
  if (own.held > tracks_.limit) {
    return Outcome::broken;
  }
  if (own.position == 0) {
    own.begin = own.clock;
  }
  own.clock += track.forward;
  Done& now = done(index, k);
  now.forward = own.clock;
  now.forward_position = own.position;
  reasons_[at(rank)][at(own.position)] = reason;
  sequence_[at(rank)][at(own.position)] = k;
  state_[at(index)].forwards = k + 1;
  wake(track.next, rank);
  return Outcome::ran;
}

WordTimes::Outcome WordTimes::input(int index, int rank) {
  const Track& track = tracks_[index];
  RankState& own = ranks_[at(rank)];
  const int k = state_[at(index)].inputs;
  if (state_[at(index)].forwards <= k) {
    return Outcome::broken;
  }
  Reason reason = Reason::order;
  if (track.next != Track::none) {
    if (state_[at(track.next)].inputs <= k) {
      return Outcome::waits;
    }
    const Time arrived = done(track.next, k).input + track.from_next;
    if (arrived > own.clock) {
      own.clock = arrived;
      reason = Reason::gradient;
    }
  }
  own.held += track.weight_operands - track.activation;
  if (own.held > tracks_.limit) {
    return Outcome::broken;
  }
  own.clock += track.backward_input;
  Done& now = done(index, k);
  now.input = own.clock;
  now.input_position = own.position;
  reasons_[at(rank)][at(own.position)] = reason;
  sequence_[at(rank)][at(own.position)] = k;
  state_[at(index)].inputs = k + 1;
  wake(track.previous, rank);
  return Outcome::ran;
}

WordTimes::Outcome WordTimes::weight(int index, int rank) {
  TrackState& state = state_[at(index)];
  RankState& own = ranks_[at(rank)];
  if (state.weights >= state.inputs) {
    return Outcome::broken;
  }
  ++state.weights;
  own.held -= tracks_[index].weight_operands;
  own.clock += tracks_[index].backward_weight;
  reasons_[at(rank)][at(own.position)] = Reason::order;
  return Outcome::ran;
}

// Runs the rank's word until a letter must wait for another rank. False where the word is broken.
bool WordTimes::run_rank(int rank, const Word& word) {
  RankState& own = ranks_[at(rank)];
  own.queued = false;
  for (; at(own.position) < word.size(); ++own.position) {
    const Letter& letter = word[at(own.position)];
    Outcome outcome = Outcome::broken;
    if (letter.kind == OpKind::forward) {
      outcome = forward(letter.track, rank);
    } else if (letter.kind == OpKind::backward_input) {
      outcome = input(letter.track, rank);
    } else {
      outcome = weight(letter.track, rank);
    }
    if (outcome != Outcome::ran) {
      return outcome == Outcome::waits;
    }
  }
  return true;
}

std::optional<StepTimes> WordTimes::measure(const Words& words) {
  reset(words);
  while (!ready_.empty()) {
    const int rank = ready_.back();
    ready_.pop_back();
    if (!run_rank(rank, words[at(rank)])) {
      return std::nullopt;
    }
  }
  StepTimes times;
  Time ends{};
  Time rank_times{};
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    const RankState& own = ranks_[at(rank)];
    if (at(own.position) < words[at(rank)].size()) {
      return std::nullopt;
    }
    times.makespan = std::max(times.makespan, own.clock);
    times.longest_rank_time = std::max(times.longest_rank_time, own.clock - own.begin);
    ends += own.clock;
    rank_times += own.clock - own.begin;
  }
  times.mean_rank_end = ends / tracks_.ranks();
  times.mean_rank_time = rank_times / tracks_.ranks();
  return times;
}

void WordTimes::find_critical_path(const Words& words, int rank_time_weight,
                                   std::vector<Place>& path) const {
  path.clear();
  Place here;
  Time longest{};
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    const RankState& own = ranks_[at(rank)];
    const Time length = own.clock + rank_time_weight * (own.clock - own.begin);
    if (length > longest) {
      longest = length;
      here.rank = rank;
    }
  }
  here.position = static_cast<int>(words[at(here.rank)].size()) - 1;
  while (here.position >= 0) {
    path.push_back(here);
    const Letter& letter = words[at(here.rank)][at(here.position)];
    const Reason reason = reasons_[at(here.rank)][at(here.position)];
    if (reason == Reason::order) {
      --here.position;
      continue;
    }
    const int k = sequence_[at(here.rank)][at(here.position)];
    const Track& track = tracks_[letter.track];
    const int from = reason == Reason::activation ? track.previous : track.next;
    here = {.rank = tracks_[from].rank,
            .position = reason == Reason::activation ? done(from, k).forward_position
                                                     : done(from, k).input_position};
  }
}

}  // namespace dualpipe
