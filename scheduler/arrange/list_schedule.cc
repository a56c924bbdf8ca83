#include "scheduler/arrange/list_schedule.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

constexpr Time never{std::numeric_limits<std::int64_t>::max() / 4};

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

class ListScheduler {
 public:
  ListScheduler(const Tracks& tracks, const ListPolicy& policy);

  [[nodiscard]] std::optional<Words> run();

 private:
  struct TrackState {
    int forwards = 0;
    int inputs = 0;
    int weights = 0;
    std::vector<Time> forward_end;
    std::vector<Time> input_end;
  };
  struct RankState {
    Time free_at{};
    Time wakes_at = never;
    std::int64_t held = 0;
    bool begun = false;
    Time idle{};  // since its first letter
  };
  // What a rank could run now, and when it could run more.
  struct Choice {
    int forward = Track::none;
    int input = Track::none;
    int weight = Track::none;
    std::int64_t forward_score = std::numeric_limits<std::int64_t>::max();
    std::int64_t input_score = std::numeric_limits<std::int64_t>::max();
    Time weight_since = never;
    int weights_waiting = 0;
    bool forward_blocked = false;  // by memory, which a weight half would free
    Time next = never;
  };

  [[nodiscard]] Time forward_ready(int index) const;
  [[nodiscard]] Time input_ready(int index) const;
  [[nodiscard]] bool admits(int index) const;
  [[nodiscard]] bool has_room_after(int index) const;
  [[nodiscard]] std::int64_t score_forward(int index, Time ready) const;
  [[nodiscard]] Choice look(int rank, Time now) const;
  [[nodiscard]] bool is_ending(int rank) const;
  [[nodiscard]] bool is_strict(int rank) const;
  [[nodiscard]] std::optional<Letter> next_of_plan(int rank) const;
  void look_at_plan(int rank, Time now, Choice& choice) const;
  void look_at_forward(int index, Time now, Choice& choice) const;
  void look_at_input(int index, Time now, Choice& choice) const;
  [[nodiscard]] std::optional<Letter> choose(const Choice& choice, int rank, Time now) const;
  [[nodiscard]] bool is_gap_for_weight(const Choice& choice, int rank, Time now) const;
  void wake(int rank, Time when);
  void run(const Letter& letter, Time now);

  const Tracks& tracks_;
  const ListPolicy& policy_;
  std::vector<TrackState> state_;
  std::vector<RankState> ranks_;
  Words words_;
  Time longest_idle_{};
  using Event = std::pair<Time, int>;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

ListScheduler::ListScheduler(const Tracks& tracks, const ListPolicy& policy)
    : tracks_(tracks), policy_(policy) {
  for (const Track& track : tracks.tracks) {
    TrackState& state = state_.emplace_back();
    state.forward_end.reserve(at(track.microbatches));
    state.input_end.reserve(at(track.microbatches));
  }
  ranks_.resize(at(tracks.ranks()));
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    ranks_[at(rank)].held = tracks.resident_of(rank);
  }
  words_.resize(ranks_.size());
}

Time ListScheduler::forward_ready(int index) const {
  const Track& track = tracks_[index];
  const int k = state_[at(index)].forwards;
  if (k >= track.microbatches) {
    return never;
  }
  if (track.previous == Track::none) {
    return Time{};
  }
  const TrackState& previous = state_[at(track.previous)];
  return previous.forwards > k ? previous.forward_end[at(k)] + track.from_previous : never;
}

Time ListScheduler::input_ready(int index) const {
  const Track& track = tracks_[index];
  const TrackState& own = state_[at(index)];
  const int k = own.inputs;
  if (k >= own.forwards) {
    return never;
  }
  if (track.next == Track::none) {
    return own.forward_end[at(k)];
  }
  const TrackState& next = state_[at(track.next)];
  return next.inputs > k ? std::max(own.forward_end[at(k)], next.input_end[at(k)] + track.from_next)
                         : never;
}

bool ListScheduler::admits(int index) const {
  const TrackState& own = state_[at(index)];
  return policy_.in_flight_max.empty() ||
         own.forwards - own.inputs < policy_.in_flight_max[at(index)];
}

bool ListScheduler::has_room_after(int index) const {
  const Track& track = tracks_[index];
  std::int64_t needed = ranks_[at(track.rank)].held + track.activation;
  for (const int other : tracks_.of_rank[at(track.rank)]) {
    const TrackState& state = state_[at(other)];
    if (tracks_[other].stage > track.stage && state.forwards < tracks_[other].microbatches) {
      const bool returned = state.inputs > 0 || policy_.reserved.empty();
      const int least = returned ? 1 : policy_.reserved[at(other)];
      needed += std::max(0, least - (state.forwards - state.weights)) * tracks_[other].activation;
    }
  }
  return needed <= tracks_.limit;
}

std::int64_t ListScheduler::score_forward(int index, Time ready) const {
  const Track& track = tracks_[index];
  const int k = state_[at(index)].forwards;
  if (is_ending(track.rank)) {
    return track.stage - 2 * std::ssize(tracks_.tracks);
  }
  if (!policy_.forward_targets.empty()) {
    return (policy_.forward_targets[at(index)] + k * policy_.period).count();
  }
  switch (policy_.forwards) {
    case ListPolicy::Forwards::later_stage:
      return -track.stage;
    case ListPolicy::Forwards::earlier_stage:
      return track.stage;
    case ListPolicy::Forwards::oldest:
      return 2 * std::int64_t{k};
    case ListPolicy::Forwards::oldest_later:
      return 2 * std::int64_t{k} - (track.stage >= tracks_.ranks() ? 1 : 0);
    case ListPolicy::Forwards::waiting:
      return ready.count();
  }
  return 0;
}

void ListScheduler::look_at_forward(int index, Time now, Choice& choice) const {
  const Time ready = forward_ready(index);
  if (ready == never) {
    return;
  }
  if (!admits(index) || !has_room_after(index)) {
    choice.forward_blocked = choice.forward_blocked || ready <= now;
    return;
  }
  if (ready > now) {
    choice.next = std::min(choice.next, ready);
    return;
  }
  const std::int64_t score = score_forward(index, ready);
  if (score < choice.forward_score) {
    choice.forward_score = score;
    choice.forward = index;
  }
}

void ListScheduler::look_at_input(int index, Time now, Choice& choice) const {
  const Time ready = input_ready(index);
  if (ready > now) {
    choice.next = std::min(choice.next, ready);
    return;
  }
  const Track& track = tracks_[index];
  const std::int64_t more = track.weight_operands - track.activation;
  if (ranks_[at(track.rank)].held + more > tracks_.limit) {
    return;  // Operands can be larger than the activation; a weight half makes room.
  }
  const std::int64_t score =
      is_ending(track.rank) ? -track.stage
      : policy_.input_targets.empty()
          ? ready.count()
          : (policy_.input_targets[at(index)] + state_[at(index)].inputs * policy_.period).count();
  if (score < choice.input_score) {
    choice.input_score = score;
    choice.input = index;
  }
}

bool ListScheduler::is_ending(int rank) const {
  return policy_.strict == ListPolicy::Strict::returned &&
         std::ranges::any_of(tracks_.of_rank[at(rank)], [&](int index) {
           return state_[at(index)].forwards == tracks_[index].microbatches;
         });
}

bool ListScheduler::is_strict(int rank) const {
  const std::vector<int>& own = tracks_.of_rank[at(rank)];
  const auto has_returned = [&](int index) { return state_[at(index)].inputs > 0; };
  const auto has_forwards = [&](int index) {
    return state_[at(index)].forwards < tracks_[index].microbatches;
  };
  switch (policy_.strict) {
    case ListPolicy::Strict::never:
      return false;
    case ListPolicy::Strict::steady:
      return std::ranges::any_of(own, has_returned) && std::ranges::any_of(own, has_forwards);
    case ListPolicy::Strict::always:
      return true;
    case ListPolicy::Strict::returned:
      return std::ranges::all_of(own, has_returned) && std::ranges::all_of(own, has_forwards);
  }
  return false;
}

// The rank's next forward or input half in the order of the plan.
std::optional<Letter> ListScheduler::next_of_plan(int rank) const {
  std::optional<Letter> next;
  Time earliest = never;
  const auto consider = [&](const Letter& letter, int done, const std::vector<Time>& targets) {
    const Time target = targets[at(letter.track)] + done * policy_.period;
    if (done < tracks_[letter.track].microbatches && target < earliest) {
      earliest = target;
      next = letter;
    }
  };
  for (const int index : tracks_.of_rank[at(rank)]) {
    const TrackState& state = state_[at(index)];
    consider({OpKind::forward, index}, state.forwards, policy_.forward_targets);
    consider({OpKind::backward_input, index}, state.inputs, policy_.input_targets);
  }
  return next;
}

void ListScheduler::look_at_plan(int rank, Time now, Choice& choice) const {
  if (const std::optional<Letter> next = next_of_plan(rank)) {
    if (next->kind == OpKind::forward) {
      look_at_forward(next->track, now, choice);
    } else {
      look_at_input(next->track, now, choice);
    }
  }
}

ListScheduler::Choice ListScheduler::look(int rank, Time now) const {
  Choice choice;
  const bool strict = is_strict(rank);
  if (strict) {
    look_at_plan(rank, now, choice);
  }
  for (const int index : tracks_.of_rank[at(rank)]) {
    if (!strict) {
      look_at_input(index, now, choice);
      look_at_forward(index, now, choice);
    }
    const TrackState& state = state_[at(index)];
    if (state.weights < state.inputs) {
      choice.weights_waiting += state.inputs - state.weights;
      const Time since = state.input_end[at(state.weights)];
      if (since < choice.weight_since) {
        choice.weight_since = since;
        choice.weight = index;
      }
    }
  }
  return choice;
}

bool ListScheduler::is_gap_for_weight(const Choice& choice, int rank, Time now) const {
  if (choice.forward_blocked || choice.next == never) {
    return true;
  }
  const Time gap = choice.next - now;
  return gap >= tracks_[choice.weight].backward_weight * policy_.gap_percent / 100 ||
         (policy_.level_idle && ranks_[at(rank)].idle + gap > longest_idle_);
}

std::optional<Letter> ListScheduler::choose(const Choice& choice, int rank, Time now) const {
  const bool has_weight = choice.weight != Track::none;
  const Letter weight{OpKind::backward_weight, choice.weight};
  const bool both = choice.input != Track::none && choice.forward != Track::none;
  const bool by_score = !policy_.forward_targets.empty();
  const bool input_first =
      by_score ? choice.input_score <= choice.forward_score : policy_.inputs_first;
  if (choice.input != Track::none && (!both || input_first)) {
    return Letter{OpKind::backward_input, choice.input};
  }
  if (has_weight && choice.weights_waiting >= policy_.weights_waiting_max) {
    return weight;
  }
  if (choice.forward != Track::none) {
    return Letter{OpKind::forward, choice.forward};
  }
  if (has_weight && is_gap_for_weight(choice, rank, now)) {
    return weight;
  }
  return std::nullopt;
}

void ListScheduler::wake(int rank, Time when) {
  RankState& state = ranks_[at(rank)];
  when = std::max(when, state.free_at);
  if (when < state.wakes_at) {
    state.wakes_at = when;
    events_.emplace(when, rank);
  }
}

void ListScheduler::run(const Letter& letter, Time now) {
  const Track& track = tracks_[letter.track];
  TrackState& state = state_[at(letter.track)];
  RankState& rank = ranks_[at(track.rank)];
  if (rank.begun) {
    rank.idle += now - rank.free_at;
    longest_idle_ = std::max(longest_idle_, rank.idle);
  }
  rank.begun = true;
  words_[at(track.rank)].push_back(letter);
  if (letter.kind == OpKind::forward) {
    rank.free_at = now + track.forward;
    rank.held += track.activation;
    ++state.forwards;
    state.forward_end.push_back(rank.free_at);
    if (track.next != Track::none) {
      const Track& next = tracks_[track.next];
      wake(next.rank, rank.free_at + next.from_previous);
    }
  } else if (letter.kind == OpKind::backward_input) {
    rank.free_at = now + track.backward_input;
    rank.held += track.weight_operands - track.activation;
    ++state.inputs;
    state.input_end.push_back(rank.free_at);
    if (track.previous != Track::none) {
      const Track& previous = tracks_[track.previous];
      wake(previous.rank, rank.free_at + previous.from_next);
    }
  } else {
    rank.free_at = now + track.backward_weight;
    rank.held -= track.weight_operands;
    ++state.weights;
  }
  wake(track.rank, rank.free_at);
}

std::optional<Words> ListScheduler::run() {
  std::int64_t left = tracks_.letters();
  for (int rank = 0; rank < tracks_.ranks(); ++rank) {
    wake(rank, Time{});
  }
  while (!events_.empty()) {
    const auto [now, rank] = events_.top();
    events_.pop();
    RankState& state = ranks_[at(rank)];
    if (state.wakes_at != now) {
      continue;
    }
    state.wakes_at = never;
    if (state.free_at > now) {
      wake(rank, state.free_at);
      continue;
    }
    const Choice choice = look(rank, now);
    if (const std::optional<Letter> letter = choose(choice, rank, now)) {
      run(*letter, now);
      --left;
    } else if (choice.next != never) {
      wake(rank, choice.next);
    }
  }
  return left == 0 ? std::optional(std::move(words_)) : std::nullopt;
}

}  // namespace

std::optional<Words> list_schedule(const Tracks& tracks, const ListPolicy& policy) {
  return ListScheduler(tracks, policy).run();
}

}  // namespace dualpipe
