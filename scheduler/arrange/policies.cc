#include "scheduler/arrange/policies.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/draw.h"
#include "scheduler/arrange/keep_best.h"
#include "scheduler/arrange/list_schedule.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {
namespace {

constexpr int series_length = 12 * 16;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

ListPolicy::Forwards draw_order(std::mt19937_64& random) {
  using Forwards = ListPolicy::Forwards;
  constexpr std::array orders{Forwards::later_stage, Forwards::earlier_stage, Forwards::oldest,
                              Forwards::oldest_later, Forwards::waiting};
  return orders[at(draw(random, static_cast<int>(orders.size())))];
}

int draw_weights_waiting(std::mt19937_64& random) {
  return draw(random, 2) == 0 ? ListPolicy::unlimited : 1 + draw(random, 6);
}

// How many microbatches a track may have under way: `base`, and more the farther it is from the
// last stage; in hundredths. A V has one such line for either leg.
struct Line {
  int base = 0;
  int slope = 0;
};

std::vector<int> caps_of(const Tracks& tracks, const Line& down, const Line& up) {
  const int stages = static_cast<int>(tracks.tracks.size());
  std::vector<int> caps;
  for (const Track& track : tracks.tracks) {
    const Line& line = track.stage < tracks.ranks() ? down : up;
    const std::int64_t cap = line.base + std::int64_t{line.slope} * (stages - 1 - track.stage);
    caps.push_back(static_cast<int>(std::max<std::int64_t>(1, cap / 100)));
  }
  return caps;
}

// How many hundredths of a forward pass until a microbatch comes back to a rank, for every rank
// that is farther from the last: as many more forwards does it take to keep the rank busy
// meanwhile.
int round_trip_of(const Tracks& tracks) {
  Time forwards{};
  Time round_trips{};
  for (const Track& track : tracks.tracks) {
    forwards += track.forward;
    round_trips += track.forward + track.from_previous + track.backward_input + track.from_next;
  }
  constexpr std::int64_t slope_max = 1000;
  return static_cast<int>(std::min(slope_max, 100 * round_trips / std::max(forwards, Time(1))));
}

// More of a track's microbatches than these are never under way.
int cap_max_of(const Tracks& tracks) {
  std::int64_t most = 2 * tracks.ranks() + 1;
  for (const Track& track : tracks.tracks) {
    const std::int64_t room = tracks.limit - tracks.resident_of(track.rank);
    most = std::min(most, room / std::max<std::int64_t>(1, track.activation));
  }
  return std::max(1, static_cast<int>(most));
}

// How many forwards of a track come before its first microbatch is back, if they come as fast as
// the busiest rank makes them; but no more than half of what the rank can hold.
std::vector<int> forwards_before_return(const Tracks& tracks) {
  std::vector<Time> forwards(at(tracks.ranks()));
  for (const Track& track : tracks.tracks) {
    forwards[at(track.rank)] += track.forward;
  }
  const Time between = std::max(std::ranges::max(forwards), Time(1));
  std::vector<int> counts(tracks.tracks.size());
  Time round_trip{};
  for (std::size_t track = counts.size(); track-- > 0;) {
    const Track& own = tracks.tracks[track];
    const std::int64_t room = tracks.limit - tracks.resident_of(own.rank);
    const std::int64_t half = room / std::max<std::int64_t>(1, own.activation) / 2;
    counts[track] = static_cast<int>(
        std::min<std::int64_t>({1 + round_trip / between, std::max<std::int64_t>(1, half),
                                std::int64_t{own.microbatches}}));
    round_trip += own.from_previous + own.forward + own.backward_input + own.from_next;
  }
  return counts;
}

}  // namespace

ListPolicy policy_of_plan(const Tracks& tracks, ListPolicy::Strict strict) {
  ListPolicy policy;
  policy.strict = strict;
  if (strict == ListPolicy::Strict::returned) {
    policy.reserved = forwards_before_return(tracks);
  }
  return policy;
}

Policies::Policies(const Tracks& tracks)
    : tracks_(tracks),
      linear_(static_cast<int>(tracks.tracks.size()) == tracks.ranks()),
      round_trip_(round_trip_of(tracks)),
      cap_max_(cap_max_of(tracks)) {}

ListPolicy Policies::next() {
  const int turn = turn_++;
  if (linear_) {
    return turn < series_length ? of_series(turn) : draw_policy(turn);
  }
  // At first only what is drawn: variations of a poor policy lead nowhere.
  constexpr int drawn_first = 100;
  if (turn < drawn_first || kept_.empty() || turn % 4 == 0) {
    return draw_policy(turn);
  }
  const int choices = 1 + draw(random_, static_cast<int>(kept_.size()));
  return vary(kept_[at(draw(random_, choices))].policy);
}

void Policies::keep(ListPolicy policy, std::int64_t value) {
  constexpr std::size_t kept_max = 8;
  keep_best(kept_, {.value = value, .policy = std::move(policy)}, kept_max);
}

// With one stage per rank those come first that keep a rank busy while its first microbatches are
// under way, as ZB-H2 does for F = I = W.
ListPolicy Policies::of_series(int turn) const {
  constexpr std::array bases{125, 150, 175, 100};
  const std::array slopes{round_trip_, 225, 200, 100, 250, 300, 150, 175, 275, 350, 400, 125};
  const Line line{.base = bases[at(turn / 2 % 4)], .slope = slopes[at(turn / 16)]};
  ListPolicy policy;
  policy.in_flight_max = caps_of(tracks_, line, line);
  policy.gap_percent = 50 * (turn % 2);
  policy.inputs_first = turn / 8 % 2 == 0;
  policy.level_idle = true;
  return policy;
}

std::vector<int> Policies::draw_caps(int turn) {
  std::vector<int> caps;
  if (turn % 3 == 0) {
    // A microbatch is longest under way at the first stage: fewer towards the last, roughly.
    const int first = cap_max_ - draw(random_, cap_max_ / 2 + 1);
    const int last = 1 + draw(random_, cap_max_ / 2 + 1);
    const int tracks = static_cast<int>(tracks_.tracks.size());
    for (int track = 0; track < tracks; ++track) {
      const std::int64_t sum =
          std::int64_t{first} * (tracks - 1 - track) + std::int64_t{last} * track;
      const int cap = static_cast<int>(sum / std::max(1, tracks - 1));
      caps.push_back(std::clamp(cap + draw(random_, 3) - 1, 1, cap_max_));
    }
  } else if (turn % 3 == 1) {
    const auto line = [&] {
      return Line{.base = 100 + 10 * draw(random_, 10 * cap_max_),
                  .slope = 10 * (draw(random_, 41) - 20)};
    };
    const Line down = line();
    caps = caps_of(tracks_, down, line());
  }
  return caps;
}

ListPolicy Policies::draw_policy(int turn) {
  ListPolicy policy;
  policy.in_flight_max = draw_caps(turn);
  policy.gap_percent = 10 * draw(random_, 11);
  policy.level_idle = draw(random_, 3) == 0;
  policy.forwards = draw_order(random_);
  policy.inputs_first = draw(random_, 4) > 0;
  policy.weights_waiting_max = draw_weights_waiting(random_);
  return policy;
}

// A few neighbouring tracks may have one microbatch more under way, or must have one less.
void Policies::vary_caps(std::vector<int>& caps) {
  const int tracks = static_cast<int>(tracks_.tracks.size());
  if (caps.empty()) {
    caps.assign(at(tracks), cap_max_);
  }
  const int first = draw(random_, tracks);
  const int width = draw(random_, 2) == 0 ? 1 : 1 + draw(random_, tracks_.ranks());
  const int change = draw(random_, 2) == 0 ? -1 : 1;
  for (int track = first; track < std::min(first + width, tracks); ++track) {
    caps[at(track)] = std::clamp(caps[at(track)] + change, 1, cap_max_);
  }
}

ListPolicy Policies::vary(ListPolicy policy) {
  const int changes = 1 + draw(random_, 3);
  for (int change = 0; change < changes; ++change) {
    switch (draw(random_, 8)) {
      case 0:
        policy.gap_percent = 10 * draw(random_, 11);
        break;
      case 1:
        policy.level_idle = !policy.level_idle;
        break;
      case 2:
        policy.forwards = draw_order(random_);
        break;
      case 3:
        policy.inputs_first = !policy.inputs_first;
        break;
      case 4:
        policy.weights_waiting_max = draw_weights_waiting(random_);
        break;
      default:
        vary_caps(policy.in_flight_max);
    }
  }
  return policy;
}

}  // namespace dualpipe
