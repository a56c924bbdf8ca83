#include "tests/support/words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/support/random_schedule.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// How often each letter has been run.
class Progress {
 public:
  explicit Progress(const Tracks& tracks) : tracks_(tracks), done_(tracks.tracks.size()) {}

  [[nodiscard]] int& operator[](const Letter& letter) {
    return done_[at(letter.track)][place(letter.kind)];
  }

  // Whether what the letter's next microbatch reads has been run, as far as `known` says.
  template <typename Known>
  [[nodiscard]] bool is_ready(const Letter& letter, const Known& known) {
    const int next = (*this)[letter];
    const Track& track = tracks_[letter.track];
    const auto has = [&](OpKind kind, int of) {
      return of == Track::none || !known(of) || (*this)[{kind, of}] > next;
    };
    if (next == track.microbatches) {
      return false;
    }
    switch (letter.kind) {
      case OpKind::forward:
        return has(OpKind::forward, track.previous);
      case OpKind::backward_input:
        return has(OpKind::forward, letter.track) && has(OpKind::backward_input, track.next);
      default:
        return has(OpKind::backward_input, letter.track);
    }
  }

 private:
  static std::size_t place(OpKind kind) {
    return kind == OpKind::forward ? 0 : kind == OpKind::backward_input ? 1 : 2;
  }

  const Tracks& tracks_;
  std::vector<std::array<int, 3>> done_;
};

constexpr std::array kinds{OpKind::forward, OpKind::backward_input, OpKind::backward_weight};

std::vector<Letter> letters_of(const Tracks& tracks, int rank) {
  std::vector<Letter> letters;
  for (const int track : tracks.of_rank[at(rank)]) {
    for (const OpKind kind : kinds) {
      letters.push_back({kind, track});
    }
  }
  return letters;
}

// What the rank holds more after the letter.
std::int64_t more_held(const Tracks& tracks, const Letter& letter) {
  const Track& track = tracks[letter.track];
  switch (letter.kind) {
    case OpKind::forward:
      return track.activation;
    case OpKind::backward_input:
      return track.weight_operands - track.activation;
    default:
      return -track.weight_operands;
  }
}

class Enumeration {
 public:
  Enumeration(const Tracks& tracks, int rank)
      : tracks_(tracks), rank_(rank), letters_(letters_of(tracks, rank)), progress_(tracks) {}

  std::vector<Word> run() {
    extend(0);
    return std::move(words_);
  }

 private:
  void extend(std::int64_t held) {
    bool complete = true;
    for (const Letter& letter : letters_) {
      complete = complete && progress_[letter] == tracks_[letter.track].microbatches;
    }
    if (complete) {
      words_.push_back(word_);
      return;
    }
    for (const Letter& letter : letters_) {
      const std::int64_t then = held + more_held(tracks_, letter);
      const auto is_here = [&](int track) { return tracks_[track].rank == rank_; };
      if (then > tracks_.limit || !progress_.is_ready(letter, is_here)) {
        continue;
      }
      ++progress_[letter];
      word_.push_back(letter);
      extend(then);
      word_.pop_back();
      --progress_[letter];
    }
  }

  const Tracks& tracks_;
  int rank_;
  std::vector<Letter> letters_;
  Progress progress_;
  Word word_;
  std::vector<Word> words_;
};

// Counts up, the first rank being the lowest digit. False after the last.
bool advance(std::vector<std::size_t>& chosen, const std::vector<std::vector<Word>>& choices) {
  for (std::size_t rank = 0; rank < choices.size(); ++rank) {
    chosen[rank] = (chosen[rank] + 1) % choices[rank].size();
    if (chosen[rank] > 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Words words_from(const std::vector<std::string_view>& ranks) {
  Words words;
  for (const std::string_view rank : ranks) {
    Word& word = words.emplace_back();
    std::istringstream letters{std::string(rank)};
    for (std::string letter; letters >> letter;) {
      word.push_back({OpKind{letter.front()}, std::stoi(letter.substr(1))});
    }
  }
  return words;
}

std::string to_text(const Words& words) {
  std::string text;
  for (const Word& word : words) {
    for (const Letter& letter : word) {
      text += static_cast<char>(letter.kind) + std::to_string(letter.track) + " ";
    }
    text += "\n";
  }
  return text;
}

Instance instance_of(const Placement& placement, int microbatches, const CostModel& costs) {
  return {.placement = placement,
          .microbatches = microbatches,
          .costs = costs,
          .tracks = tracks_of(placement, microbatches, costs)};
}

Instance random_instance(std::mt19937& random) {
  const int ranks = draw(random, 1, 4);
  const std::array placements{linear_placement(ranks), looped_placement(ranks, draw(random, 2, 3)),
                              zigzag_placement(ranks, draw(random, 2, 3)),
                              bidirectional_placement(ranks)};
  const Placement& placement = placements[at(draw(random, 0, 3))];
  return instance_of(placement, draw(random, 1, 5), random_costs(random, placement.stages()));
}

Instance random_family_instance(std::mt19937& random) {
  const int ranks = draw(random, 1, 4);
  const Placement placement =
      draw(random, 0, 1) == 0 ? linear_placement(ranks) : v_placement(ranks);
  return instance_of(placement, draw(random, 1, 5), random_costs(random, placement.stages()));
}

std::vector<StageBytes> draw_memory(std::mt19937& random, Tracks& tracks) {
  const int unit = draw(random, 0, 2);
  std::vector<StageBytes> bytes;
  for (Track& track : tracks.tracks) {
    if (at(track.stage) == bytes.size()) {  // The second direction has the same stages again.
      bytes.push_back({.activation = unit == 0   ? 1
                                     : unit == 1 ? 2
                                                 : draw(random, 0, 9),
                       .weight_operands = unit < 2 ? 1 : draw(random, 0, 9)});
    }
    track.activation = bytes[at(track.stage)].activation;
    track.weight_operands = bytes[at(track.stage)].weight_operands;
  }
  return bytes;
}

Schedule schedule_of(const Instance& instance, const Words& words) {
  const int directions = instance.placement.directions();
  return {.pipeline = {.name = "words",
                       .placement = instance.placement,
                       .direction = directions_of_microbatches(instance.microbatches, directions)},
          .ranks = orders_of(instance.tracks, words)};
}

Words random_words(std::mt19937& random, const Tracks& tracks) {
  Progress progress(tracks);
  Words words(at(tracks.ranks()));
  for (std::int64_t left = tracks.letters(); left > 0; --left) {
    std::vector<Letter> ready;
    for (int rank = 0; rank < tracks.ranks(); ++rank) {
      for (const Letter& letter : letters_of(tracks, rank)) {
        if (progress.is_ready(letter, [](int) { return true; })) {
          ready.push_back(letter);
        }
      }
    }
    CHECK(!ready.empty());
    const Letter letter = ready[at(draw(random, 0, static_cast<int>(ready.size()) - 1))];
    ++progress[letter];
    words[at(tracks[letter.track].rank)].push_back(letter);
  }
  return words;
}

std::int64_t most_held(const Tracks& tracks, const Word& word) {
  std::int64_t held = 0;
  std::int64_t most = 0;
  for (const Letter& letter : word) {
    held += more_held(tracks, letter);
    most = std::max(most, held);
  }
  return most;
}

std::vector<Word> all_words(const Tracks& tracks, int rank) {
  return Enumeration(tracks, rank).run();
}

std::optional<Optimum> optimum_of(const Tracks& tracks) {
  std::vector<std::vector<Word>> choices;
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    choices.push_back(all_words(tracks, rank));
    if (choices.back().empty()) {
      return std::nullopt;
    }
  }
  std::optional<Optimum> best;
  WordTimes timer(tracks);
  std::vector<std::size_t> chosen(choices.size());
  do {
    Words words;
    for (std::size_t rank = 0; rank < choices.size(); ++rank) {
      words.push_back(choices[rank][chosen[rank]]);
    }
    if (const std::optional<StepTimes> times = timer.measure(words)) {
      const Optimum one{.makespan = times->makespan, .longest_rank_time = times->longest_rank_time};
      best = best.value_or(one);
      best->makespan = std::min(best->makespan, one.makespan);
      best->longest_rank_time = std::min(best->longest_rank_time, one.longest_rank_time);
    }
  } while (advance(chosen, choices));
  return best;
}

}  // namespace dualpipe
