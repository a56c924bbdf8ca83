// When everything happens if ranks run given words: the exact longest path, with eager transfers,
// in one pass. It is what the simulator computes for the same schedule; this form exists because
// whoever looks for a better word asks thousands of times a second, and asks also what to change:
// which letters the end depends on.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {

struct StepTimes {
  Time makespan{};
  Time longest_rank_time{};  // from a rank's first letter to its last
  Time mean_rank_end{};
  Time mean_rank_time{};
};

// A letter's place.
struct Place {
  int rank = 0;
  int position = 0;
};

class WordTimes {
 public:
  // `tracks` must outlive this.
  explicit WordTimes(const Tracks& tracks);

  // None where the words deadlock, hold more than the limit, or run an op before what it reads on
  // its own rank. Requires: every letter as often as its track has microbatches.
  [[nodiscard]] std::optional<StepTimes> measure(const Words& words);

  // The letters of one longest path to the end of a rank, last letter first: that of the rank with
  // the largest end + rank_time_weight * (end - begin).
  // Requires: `words` are those of the last call of measure(), which gave times.
  void find_critical_path(const Words& words, int rank_time_weight, std::vector<Place>& path) const;

 private:
  enum class Reason : std::uint8_t { order, activation, gradient };  // what a letter waited for

  struct RankState {
    Time clock{};
    Time begin{};
    int position = 0;
    bool queued = false;
    std::int64_t held = 0;
  };
  struct TrackState {
    int forwards = 0;
    int inputs = 0;
    int weights = 0;
  };
  // Of microbatch k at track i, at index i * microbatches_max_ + k.
  struct Done {
    Time forward{};
    Time input{};
    int forward_position = 0;
    int input_position = 0;
  };
  enum class Outcome : std::uint8_t { ran, waits, broken };

  void reset(const Words& words);
  [[nodiscard]] bool run_rank(int rank, const Word& word);
  [[nodiscard]] Outcome forward(int index, int rank);
  [[nodiscard]] Outcome input(int index, int rank);
  [[nodiscard]] Outcome weight(int index, int rank);
  void wake(int track, int rank);
  [[nodiscard]] Done& done(int track, int microbatch) {
    return done_[static_cast<std::size_t>(track) * stride_ + static_cast<std::size_t>(microbatch)];
  }
  [[nodiscard]] const Done& done(int track, int microbatch) const {
    return done_[static_cast<std::size_t>(track) * stride_ + static_cast<std::size_t>(microbatch)];
  }

  const Tracks& tracks_;
  std::size_t stride_ = 0;
  std::vector<Done> done_;
  std::vector<RankState> ranks_;
  std::vector<TrackState> state_;
  std::vector<std::vector<Reason>> reasons_;         // [rank][position]
  std::vector<std::vector<std::int32_t>> sequence_;  // [rank][position]: which one of its kind
  std::vector<int> ready_;
};

}  // namespace dualpipe
