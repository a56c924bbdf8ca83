#include "scheduler/arrange/anneal.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/arrange/core.h"
#include "scheduler/arrange/draw.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"

namespace dualpipe {
namespace {

// One nanosecond of makespan or longest rank time, in terms of the mean end of the ranks.
constexpr int objective_scale = 64;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// The letter at `place` goes `distance` places on, or back where that is negative.
struct Move {
  Place place;
  int distance = 0;
};

// False where the word has no such place, or would not change.
bool shift(const Move& move, Word& word) {
  const int to = move.place.position + move.distance;
  if (to < 0 || to >= static_cast<int>(word.size())) {
    return false;
  }
  const auto from = word.begin() + move.place.position;
  const auto target = word.begin() + to;
  const auto [first, last] = std::minmax(from, target);
  if (std::all_of(first, last + 1, [&](const Letter& letter) { return letter == *from; })) {
    return false;
  }
  if (move.distance > 0) {
    std::rotate(from, from + 1, target + 1);
  } else {
    std::rotate(target, from, from + 1);
  }
  return true;
}

bool apply(const Move& move, const std::vector<Core>& cores, Words& words) {
  Word& word = words[at(move.place.rank)];
  if (cores.empty()) {
    return shift(move, word);
  }
  const Core& core = cores[at(move.place.rank)];
  const int end = core.begin + core.length * core.copies;
  const int from = move.place.position;
  const int to = from + move.distance;
  if (from < core.begin || from >= end) {
    const bool before = from < core.begin;
    return (before ? to < core.begin : to >= end) && shift(move, word);
  }
  Move first = move;
  first.place.position = core.begin + (from - core.begin) % core.length;
  const int target = first.place.position + move.distance;
  if (target < core.begin || target >= core.begin + core.length || !shift(first, word)) {
    return false;
  }
  const auto begin = word.begin() + core.begin;
  for (int copy = 1; copy < core.copies; ++copy) {
    std::copy(begin, begin + core.length, begin + std::ptrdiff_t{copy} * core.length);
  }
  return true;
}

void undo(const Move& move, const std::vector<Core>& cores, Words& words) {
  const Move back{
      .place = {.rank = move.place.rank, .position = move.place.position + move.distance},
      .distance = -move.distance};
  static_cast<void>(apply(back, cores, words));
}

Move draw_move(std::mt19937_64& random, const std::vector<Place>& path, const Words& words) {
  Move move;
  constexpr int on_path_percent = 78;
  if (draw(random, 100) < on_path_percent) {
    move.place = path[at(draw(random, static_cast<int>(path.size())))];
  } else {
    move.place.rank = draw(random, static_cast<int>(words.size()));
    move.place.position = draw(random, static_cast<int>(words[at(move.place.rank)].size()));
  }
  // Most moves are short; a few leap over a whole microbatch's letters.
  const int reach = draw(random, 10);
  const int distance = reach < 6 ? 1 : reach < 9 ? 1 + draw(random, 3) : 1 + draw(random, 16);
  move.distance = draw(random, 2) == 0 ? distance : -distance;
  return move;
}

Time mean_forward(const Tracks& tracks) {
  Time sum{};
  for (const Track& track : tracks.tracks) {
    sum += track.forward;
  }
  return sum / static_cast<std::int64_t>(tracks.tracks.size());
}

}  // namespace

std::int64_t Objective::operator()(const StepTimes& times) const {
  constexpr int penalty = 1000;
  const Time excess = std::max(times.makespan - makespan_max, Time{}) +
                      std::max(times.longest_rank_time - rank_time_max, Time{});
  const std::int64_t whole = times.makespan / unit +
                             rank_time_weight * (times.longest_rank_time / unit) +
                             penalty * (excess / unit);
  return objective_scale * whole + times.mean_rank_end / unit +
         rank_time_weight * (times.mean_rank_time / unit);
}

Words anneal(const Tracks& tracks, const Words& words, const AnnealingOptions& options) {
  const Objective& objective = options.objective;
  std::mt19937_64 random(options.seed);
  WordTimes timer(tracks);
  Words current = words;
  const std::optional<StepTimes> start = timer.measure(current);
  CHECK(start.has_value());
  std::vector<Place> path;
  timer.find_critical_path(current, objective.rank_time_weight, path);
  if (path.empty()) {
    return current;
  }
  std::int64_t value = objective(*start);
  Words best = current;
  std::int64_t best_value = value;
  const std::int64_t rounds = options.letters / tracks.letters();
  // At first, a move may cost half a forward.
  const std::int64_t tolerance = objective_scale * (mean_forward(tracks) / objective.unit) / 2;
  for (std::int64_t round = 0; round < rounds; ++round) {
    const Move move = draw_move(random, path, current);
    if (!apply(move, options.cores, current)) {
      continue;
    }
    const std::int64_t limit =
        tolerance / rounds * (rounds - round) + tolerance % rounds * (rounds - round) / rounds;
    const std::int64_t allowed =
        limit == 0 ? 0 : static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit));
    const std::optional<StepTimes> times = timer.measure(current);
    if (!times || objective(*times) > value + allowed) {
      undo(move, options.cores, current);
      continue;
    }
    value = objective(*times);
    timer.find_critical_path(current, objective.rank_time_weight, path);
    if (value < best_value && objective.within_bounds(*times)) {
      best_value = value;
      best = current;
    }
  }
  return best;
}

}  // namespace dualpipe
