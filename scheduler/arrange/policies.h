// Which list schedules to try, one after the other: a fixed series where one stage per rank makes
// it plain what is promising, policies drawn at random elsewhere, and variations of those that have
// done best so far. The draws come from a generator of fixed seed: same input, same policies.

#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "scheduler/arrange/list_schedule.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {

// For list scheduling in the order of a plan, whose times are still to be set.
[[nodiscard]] ListPolicy policy_of_plan(const Tracks& tracks, ListPolicy::Strict strict);

class Policies {
 public:
  // `tracks` must outlive this.
  explicit Policies(const Tracks& tracks);

  [[nodiscard]] ListPolicy next();

  // What a policy came to, the smaller the better: next() varies the best of them.
  void keep(ListPolicy policy, std::int64_t value);

 private:
  struct Kept {
    std::int64_t value = 0;
    ListPolicy policy;
  };

  [[nodiscard]] ListPolicy of_series(int turn) const;
  [[nodiscard]] ListPolicy draw_policy(int turn);
  [[nodiscard]] std::vector<int> draw_caps(int turn);
  [[nodiscard]] ListPolicy vary(ListPolicy policy);
  void vary_caps(std::vector<int>& caps);

  const Tracks& tracks_;
  bool linear_;
  int round_trip_;
  int cap_max_;
  int turn_ = 0;
  std::mt19937_64 random_{1};
  std::vector<Kept> kept_;  // best first
};

}  // namespace dualpipe
