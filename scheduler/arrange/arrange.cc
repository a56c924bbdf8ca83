#include "scheduler/arrange/arrange.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/arrange/anneal.h"
#include "scheduler/arrange/core.h"
#include "scheduler/arrange/keep_best.h"
#include "scheduler/arrange/list_schedule.h"
#include "scheduler/arrange/periodic.h"
#include "scheduler/arrange/policies.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

constexpr std::int64_t letters_per_list = 6;  // what a letter of a list schedule costs, in timings

constexpr std::size_t kept_max = 3;  // of what anneals, each in its way

// The few best words seen so far.
class Best {
 public:
  Best(const Tracks& tracks, const Objective& objective) : objective_(objective), timer_(tracks) {}

  // Their value; none where they cannot be timed. Kept only within the objective's bounds.
  std::optional<std::int64_t> consider(Words words) {
    const std::optional<StepTimes> times = timer_.measure(words);
    if (!times) {
      return std::nullopt;
    }
    const std::int64_t value = objective_(*times);
    if (objective_.within_bounds(*times)) {
      keep_best(kept_, {.value = value, .words = std::move(words)}, kept_max);
    }
    return value;
  }

  struct Kept {
    std::int64_t value = 0;
    Words words;
  };
  [[nodiscard]] const std::vector<Kept>& kept() const { return kept_; }
  [[nodiscard]] const Objective& objective() const { return objective_; }

 private:
  Objective objective_;
  WordTimes timer_;
  std::vector<Kept> kept_;  // best first
};

// One microbatch goes through all stages and back before the next begins: slow, but it needs least.
Words one_at_a_time(const Tracks& tracks) {
  Words words(at(tracks.ranks()));
  for (int microbatch = 0; microbatch < tracks.tracks.front().microbatches; ++microbatch) {
    const int last = static_cast<int>(tracks.tracks.size()) - 1;
    for (int track = 0; track <= last; ++track) {
      words[at(tracks[track].rank)].push_back({OpKind::forward, track});
    }
    for (int track = last; track >= 0; --track) {
      words[at(tracks[track].rank)].push_back({OpKind::backward_input, track});
      words[at(tracks[track].rank)].push_back({OpKind::backward_weight, track});
    }
  }
  return words;
}

// How many list schedules to try for this effort.
std::int64_t lists_for(std::int64_t letters_per_try, std::int64_t effort) {
  constexpr std::int64_t lists_max = 1000;
  return std::clamp<std::int64_t>(effort / letters_per_try, 4, lists_max);
}

// Like the others below: tries, and returns what it cost in letters timed.
std::int64_t try_lists(const Tracks& tracks, std::int64_t effort, Best& best) {
  const std::int64_t lists = lists_for(letters_per_list * tracks.letters(), effort);
  Policies policies(tracks);
  for (std::int64_t turn = 0; turn < lists; ++turn) {
    if (std::optional<Words> words = list_schedule(tracks, policies.next())) {
      best.consider(std::move(*words));
    }
  }
  return lists * letters_per_list * tracks.letters();
}

// The same pipeline with no more microbatches than it takes to come to a steady state and to leave
// it, and with as many over as before when it comes to fill cores.
Tracks shortened(const Tracks& tracks) {
  const int microbatches = tracks.tracks.front().microbatches;
  const int enough = 2 * tracks.ranks() + 8;
  const int left_out = std::max(0, microbatches - enough) / core_microbatches_multiple;
  Tracks few = tracks;
  for (Track& track : few.tracks) {
    track.microbatches = microbatches - left_out * core_microbatches_multiple;
  }
  return few;
}

// List schedules of a few microbatches, which soon come to repeat themselves; then the best few of
// them annealed, their cores as cores; all of them judged by what they come to with all
// microbatches.
class CoreSearch {
 public:
  CoreSearch(const Tracks& tracks, Best& best)
      : best_(best),
        few_(shortened(tracks)),
        left_out_(tracks.tracks.front().microbatches - few_.tracks.front().microbatches),
        letters_per_try_(letters_per_list * few_.letters() + tracks.letters()) {}

  std::int64_t try_lists(std::int64_t effort) {
    const std::int64_t lists = lists_for(letters_per_try_, effort);
    Policies policies(few_);
    for (std::int64_t turn = 0; turn < lists; ++turn) {
      ListPolicy policy = policies.next();
      std::optional<Words> words = list_schedule(few_, policy);
      if (!words) {
        continue;
      }
      if (const std::optional<std::int64_t> value = judge(std::move(*words))) {
        policies.keep(std::move(policy), *value);
      }
    }
    return lists * letters_per_try_;
  }

  std::int64_t anneal_cores(std::int64_t effort) {
    AnnealingOptions annealing{.objective = best_.objective(), .letters = 0, .seed = 0};
    annealing.objective.makespan_max = annealing.objective.rank_time_max = Time::max();
    annealing.letters = effort / std::max<std::int64_t>(1, std::ssize(kept_));
    for (const Kept& kept : kept_) {
      ++annealing.seed;
      annealing.cores = kept.cores.of_rank;
      best_.consider(extend(anneal(few_, kept.words, annealing), kept.cores, left_out_));
    }
    return kept_.empty() ? 0 : effort;
  }

 private:
  struct Kept {
    std::int64_t value = 0;
    Words words;
    Cores cores;
  };

  std::optional<std::int64_t> judge(Words words) {
    std::optional<Cores> cores = find_cores(few_, words);
    if (!cores) {
      return left_out_ == 0 ? best_.consider(std::move(words)) : std::nullopt;
    }
    const std::optional<std::int64_t> value = best_.consider(extend(words, *cores, left_out_));
    if (value) {
      keep_best(kept_, {.value = *value, .words = std::move(words), .cores = std::move(*cores)},
                kept_max);
    }
    return value;
  }

  Best& best_;
  Tracks few_;
  int left_out_;
  std::int64_t letters_per_try_;  // a list of a few microbatches, and judging what it comes to
  std::vector<Kept> kept_;        // best first
};

// List-scheduled in the order of the plan. Returns what it cost.
std::int64_t try_order(const Tracks& tracks, const PeriodicPlan& plan, ListPolicy policy,
                       Best& best) {
  policy.forward_targets = plan.forward;
  policy.input_targets = plan.input;
  policy.period = plan.period;
  if (std::optional<Words> words = list_schedule(tracks, policy)) {
    best.consider(std::move(*words));
  }
  return letters_per_list * tracks.letters();
}

// The plan as it is; and, as far as the effort goes, list-scheduled in its order, with weight
// halves in gaps of several sizes.
std::int64_t try_plan(const Tracks& tracks, const PeriodicPlan& plan, std::int64_t effort,
                      Best& best) {
  best.consider(words_of(tracks, plan));
  std::int64_t spent = tracks.letters();
  for (const ListPolicy::Strict strict : {ListPolicy::Strict::always, ListPolicy::Strict::steady}) {
    ListPolicy policy = policy_of_plan(tracks, strict);
    for (const int gap_percent : {50, 75, 0, 25, 100}) {
      if (spent >= effort) {
        return spent;
      }
      policy.gap_percent = gap_percent;
      policy.level_idle = gap_percent == 100;
      spent += try_order(tracks, plan, policy, best);
    }
  }
  return spent;
}

// For half of the effort, many plans in one way; for the rest, the most promising in every way.
std::int64_t try_given_plans(const Tracks& tracks, const std::vector<PeriodicPlan>& plans,
                             std::int64_t effort, Best& best) {
  std::int64_t spent = 0;
  ListPolicy policy = policy_of_plan(tracks, ListPolicy::Strict::returned);
  policy.gap_percent = 50;
  for (const PeriodicPlan& plan : plans) {
    if (spent >= effort / 2) {
      break;
    }
    spent += try_order(tracks, plan, policy, best);
  }
  for (const PeriodicPlan& plan : plans) {
    if (spent >= effort) {
      break;
    }
    spent += try_plan(tracks, plan, effort - spent, best);
  }
  return spent;
}

// From the shortest period that the busiest rank allows, in steps of a hundredth, until some plans
// have held the limit: a longer period only makes the step longer.
std::int64_t try_new_plans(const Tracks& tracks, std::int64_t effort, Best& best) {
  Time work{};
  for (const std::vector<int>& of_rank : tracks.of_rank) {
    Time of_one{};
    for (const int track : of_rank) {
      of_one +=
          tracks[track].forward + tracks[track].backward_input + tracks[track].backward_weight;
    }
    work = std::max(work, of_one);
  }
  if (work == Time{}) {
    return 0;
  }
  // A partial plan is copied for every place that is tried: some hundred timings of a letter.
  constexpr std::int64_t letters_per_partial = 200;
  const std::int64_t places = 2 * static_cast<std::int64_t>(tracks.tracks.size());
  std::int64_t attempts = std::min<std::int64_t>(effort / (places * letters_per_partial), 1000);
  std::int64_t spent = 0;
  int found = 0;
  constexpr int found_max = 4;
  for (int percent = 100; percent <= 150 && found < found_max && attempts > 0; ++percent) {
    const int width = static_cast<int>(std::clamp<std::int64_t>(attempts / 50, 1, 64));
    attempts -= width;
    spent += width * places * letters_per_partial;
    const Time period = (work * percent + Time(99)) / 100;
    const std::optional<PeriodicPlan> plan = find_periodic_plan(tracks, period, width);
    if (!plan) {
      continue;
    }
    ++found;
    spent += try_plan(tracks, *plan, effort - spent, best);
  }
  return spent;
}

// In what to count times so that an objective fits in 64 bits however long the step takes.
Time unit_of(const Tracks& tracks) {
  double horizon = 0.0;  // ns, if nothing ran at the same time as anything else
  for (const Track& track : tracks.tracks) {
    const Time each = track.forward + track.backward_input + track.backward_weight +
                      track.from_previous + track.from_next;
    horizon += static_cast<double>(each.count()) * track.microbatches;
  }
  constexpr double horizon_max = 1e12;
  return Time(1 + static_cast<std::int64_t>(horizon / horizon_max));
}

// The objective, bounded by the times of that seed of which the longest rank is shortest.
Objective no_worse_than(const Tracks& tracks, const std::vector<Words>& seeds,
                        Objective objective) {
  objective.unit = unit_of(tracks);
  WordTimes timer(tracks);
  for (const Words& words : seeds) {
    const std::optional<StepTimes> times = timer.measure(words);
    if (times && std::pair(times->longest_rank_time, times->makespan) <
                     std::pair(objective.rank_time_max, objective.makespan_max)) {
      objective.rank_time_max = times->longest_rank_time;
      objective.makespan_max = times->makespan;
    }
  }
  return objective;
}

// Half of the effort on the best few, to find out which way leads on; the other half on what came
// of it.
void anneal_best(const Tracks& tracks, std::int64_t effort, Best& best) {
  AnnealingOptions annealing{.objective = best.objective(), .letters = 0, .seed = 0};
  const std::vector<Best::Kept> starts = best.kept();
  annealing.letters = effort / 2 / static_cast<std::int64_t>(starts.size());
  for (const Best::Kept& start : starts) {
    ++annealing.seed;
    best.consider(anneal(tracks, start.words, annealing));
  }
  annealing.letters = effort / 4;
  for (int round = 0; round < 2; ++round) {
    ++annealing.seed;
    best.consider(anneal(tracks, Words(best.kept().front().words), annealing));
  }
}

}  // namespace

Words arrange(const Tracks& tracks, const Seeds& seeds, const ArrangeOptions& options) {
  CHECK(tracks.limit >= least_limit(tracks));
  Best best(tracks, no_worse_than(tracks, seeds.words, options.objective));
  best.consider(one_at_a_time(tracks));
  for (const Words& words : seeds.words) {
    best.consider(words);
  }
  std::int64_t spent = options.spent;
  if (options.periodic_plans) {
    CoreSearch search(tracks, best);
    spent += search.try_lists(options.effort / 4);
    spent += search.anneal_cores(options.effort / 4);
    spent += try_new_plans(tracks, options.effort / 12, best);
  } else {
    spent += try_lists(tracks, options.effort / 6, best);
  }
  spent += try_given_plans(tracks, seeds.plans, options.effort / 4, best);
  anneal_best(tracks, options.effort - spent, best);
  return best.kept().front().words;
}

}  // namespace dualpipe
