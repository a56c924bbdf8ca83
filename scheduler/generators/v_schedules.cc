// The V-shaped zero-bubble schedules (Qi et al., Pipeline Parallelism with Controllable Memory,
// NeurIPS 2024): two chunks per rank, down the ranks and back, so that the first and the last stage
// share a rank and every rank has an early and a late activation, of which together it needs as
// many as any other rank. ZB-V has the memory of 1F1B, V-Half and V-Min about a half and a third.
//
// The published orders are for F = I = W: a fixed pattern for ZB-V, and for the others a building
// block, repeated every six slots, for example V-Min's of four ranks:
//
//   rank 0  F0 .  .  .  .  .  .  F1 I1 .  .  .  .  .  .  I0
//   rank 1     F0 .  .  .  .  F1 .  .  I1 .  .  .  .  I0
//   rank 2        F0 .  .  F1 .  .  .  .  I1 .  .  I0
//   rank 3           F0 F1 .  .  .  .  .  .  I1 I0
//
// Here they are where the arrangement for the costs at hand begins.

#include "scheduler/generators/v_schedules.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/anneal.h"
#include "scheduler/arrange/arrange.h"
#include "scheduler/arrange/memory_model.h"
#include "scheduler/arrange/periodic.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/generators/prune.h"
#include "scheduler/generators/v_block_words.h"
#include "scheduler/generators/zb_v_rounds.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

Placement placement(const Shape& shape) {
  return v_placement(shape.ranks);
}

// Runs the next op of a kind on one of the rank's two chunks.
class VRank {
 public:
  VRank(int rank, const Shape& shape)
      : stages_{rank, 2 * shape.ranks - 1 - rank}, microbatches_(shape.microbatches) {}

  void run(OpKind kind, int chunk) {
    slots_.emplace_back(Op{stages_[at(chunk)], kind, done_[at(chunk)][letter_index(kind)]++});
  }
  void backward(int chunk) {
    run(OpKind::backward_input, chunk);
    run(OpKind::backward_weight, chunk);
  }
  [[nodiscard]] bool has_left(OpKind kind, int chunk) const {
    return done_[at(chunk)][letter_index(kind)] < microbatches_;
  }
  [[nodiscard]] std::vector<Slot> take() { return std::move(slots_); }

 private:
  std::array<int, 2> stages_;
  int microbatches_;
  std::array<std::array<int, 3>, 2> done_{};
  std::vector<Slot> slots_;
};

std::vector<Slot> zb_v_rank(int rank, const Shape& shape) {
  VRank order(rank, shape);
  const int inner = shape.ranks - rank;  // ranks from this one to the turn
  for (int i = 0; i < 2 * inner - 1; ++i) {
    order.run(OpKind::forward, 0);
  }
  for (int i = 0; i < rank; ++i) {
    order.run(OpKind::forward, 1);
    order.run(OpKind::forward, 0);
  }
  for (int i = 0; i < inner; ++i) {
    order.run(OpKind::forward, 1);
    order.backward(1);
  }
  while (order.has_left(OpKind::forward, 1)) {
    if (order.has_left(OpKind::forward, 0)) {
      order.run(OpKind::forward, 0);
    }
    order.backward(0);
    order.run(OpKind::forward, 1);
    order.backward(1);
  }
  for (int i = 0; i < rank; ++i) {
    order.run(OpKind::backward_input, 0);
    order.run(OpKind::backward_input, 1);
  }
  for (int i = 0; i < inner; ++i) {
    order.backward(0);
  }
  for (const int chunk : {1, 0}) {
    while (order.has_left(OpKind::backward_weight, chunk)) {
      order.run(OpKind::backward_weight, chunk);
    }
  }
  return order.take();
}

// A building block: how many slots each of the four legs of a microbatch's way takes from one rank
// to the next (down forward, up forward, down backward, up backward), and how many from the last op
// of a leg to the first of the next. V-Half takes two slots down and one up, V-Min one everywhere.
// A block whose memory lies between two of these takes the steps of one on the outer ranks, and
// those of the other from the rank `inner_from` on.
struct Steps {
  std::array<int, 4> outer{};
  std::array<int, 4> inner{};
  int inner_from = 0;
  std::array<int, 3> between{};

  // Slots from the first rank to this one, on a leg.
  [[nodiscard]] int way(std::size_t leg, int rank) const {
    return outer[leg] * std::min(rank, inner_from) + inner[leg] * std::max(0, rank - inner_from);
  }
};

constexpr int block_period = 6;  // slots, one for each op of a microbatch on a rank

// Begin of F0, F1, I1, I0 on a rank, in slots.
using Begins = std::array<int, 4>;

Begins begins_of(const Steps& steps, int rank, int ranks) {
  const int last = ranks - 1;
  const int second = steps.way(0, last) + steps.between[0];
  const int third = second + steps.way(1, last) + steps.between[1];
  const int fourth = third + steps.way(2, last) + steps.between[2];
  return {steps.way(0, rank), second + steps.way(1, last) - steps.way(1, rank),
          third + steps.way(2, rank), fourth + steps.way(3, last) - steps.way(3, rank)};
}

// Whether no rank has two ops of the repeated block in one slot.
bool is_free_of_collisions(const Steps& steps, int ranks) {
  for (int rank = 0; rank < ranks; ++rank) {
    unsigned int taken = 0;
    for (const int begin : begins_of(steps, rank, ranks)) {
      const unsigned int slot = 1U << static_cast<unsigned int>(begin % block_period);
      if ((taken & slot) != 0) {
        return false;
      }
      taken |= slot;
    }
  }
  return true;
}

// The weight halves go into the two slots of six that the block leaves free.
PeriodicPlan plan_of(const Steps& steps, int ranks) {
  const std::vector<Time> none(at(2 * ranks));
  PeriodicPlan plan{.period = Time(block_period), .forward = none, .input = none, .weight = none};
  for (int rank = 0; rank < ranks; ++rank) {
    const Begins begins = begins_of(steps, rank, ranks);
    const std::size_t first = at(rank);
    const std::size_t second = at(2 * ranks - 1 - rank);
    plan.forward[first] = Time(begins[0]);
    plan.forward[second] = Time(begins[1]);
    plan.input[second] = Time(begins[2]);
    plan.input[first] = Time(begins[3]);
    std::array<bool, block_period> taken{};
    for (const int begin : begins) {
      taken[at(begin % block_period)] = true;
    }
    const auto place = [&](int after) {
      int slot = after + 1;
      while (taken[at(slot % block_period)]) {
        ++slot;
      }
      taken[at(slot % block_period)] = true;
      return Time(slot);
    };
    plan.weight[second] = place(begins[2]);
    plan.weight[first] = place(begins[3]);
  }
  return plan;
}

// Every block of these steps and of pauses up to a period that can be repeated.
void add_building_blocks(Steps steps, int ranks, std::vector<PeriodicPlan>& plans) {
  constexpr int pauses = block_period * block_period * block_period;
  for (int pause = 0; pause < pauses; ++pause) {
    steps.between = {1 + pause % block_period, 1 + pause / block_period % block_period,
                     1 + pause / block_period / block_period};
    if (is_free_of_collisions(steps, ranks)) {
      plans.push_back(plan_of(steps, ranks));
    }
  }
}

// V-Half and V-Min are among those of one kind of steps, up to three slots each. Of two kinds only
// those that come back in steps of one, with the longer steps down on the outer ranks.
std::vector<PeriodicPlan> all_building_blocks(int ranks) {
  std::vector<PeriodicPlan> plans;
  constexpr int each_max = 3;
  constexpr int choices = each_max * each_max * each_max * each_max;
  for (int choice = 0; choice < choices; ++choice) {
    const std::array<int, 4> each{1 + choice % each_max, 1 + choice / 3 % each_max,
                                  1 + choice / 9 % each_max, 1 + choice / 27};
    add_building_blocks({.outer = each, .inner = each}, ranks, plans);
  }
  constexpr int down_max = block_period - 1;
  for (int outer = 2; outer <= down_max; ++outer) {
    for (int inner = 1; inner < outer; ++inner) {
      for (int inner_from = 1; inner_from + 1 < ranks; ++inner_from) {
        add_building_blocks({.outer = {outer, 1, outer, 1},
                             .inner = {inner, 1, inner, 1},
                             .inner_from = inner_from},
                            ranks, plans);
      }
    }
  }
  return plans;
}

// Of the blocks that hold the limit, those that make most of it first.
std::vector<PeriodicPlan> find_building_blocks(const Tracks& tracks) {
  Tracks slots = tracks;
  for (Track& track : slots.tracks) {
    track.forward = track.backward_input = track.backward_weight = Time(1);
  }
  struct Candidate {
    std::int64_t held = 0;  // over all ranks
    PeriodicPlan plan;
  };
  std::vector<Candidate> candidates;
  for (PeriodicPlan& plan : all_building_blocks(tracks.ranks())) {
    const std::vector<std::int64_t> peaks = peaks_of(slots, plan);
    if (std::ranges::max(peaks) <= tracks.limit) {
      candidates.push_back(
          {std::accumulate(peaks.begin(), peaks.end(), std::int64_t{0}), std::move(plan)});
    }
  }
  std::ranges::stable_sort(candidates, std::greater<>{}, &Candidate::held);
  std::vector<PeriodicPlan> plans;
  for (Candidate& candidate : candidates) {
    plans.push_back(std::move(candidate.plan));
  }
  return plans;
}

// Of the words of the most promising blocks, those of which the longest rank is shortest. Returns
// what finding them cost, in letters timed.
std::int64_t add_block_words(const Tracks& tracks, std::int64_t effort, Seeds& seeds) {
  constexpr std::int64_t letters_per_letter = 12;  // what making and timing words costs, in timings
  const std::int64_t each = letters_per_letter * tracks.letters();
  WordTimes timer(tracks);
  std::optional<Words> best;
  std::pair best_times(Time::max(), Time::max());
  std::int64_t spent = 0;
  for (const PeriodicPlan& plan : seeds.plans) {
    if (spent + each > effort) {
      break;
    }
    spent += each;
    std::optional<Words> words = v_block_words(tracks, plan);
    const std::optional<StepTimes> times = words ? timer.measure(*words) : std::nullopt;
    if (times && std::pair(times->longest_rank_time, times->makespan) < best_times) {
      best_times = {times->longest_rank_time, times->makespan};
      best = std::move(words);
    }
  }
  if (best) {
    seeds.words.push_back(std::move(*best));
  }
  return spent;
}

struct OwnTerms {
  std::string_view name;
  std::int64_t activations = 0;
  Objective objective{};
};

RankOrders arrange_v(const Shape& shape, const Target& target, const OwnTerms& own) {
  Tracks tracks = tracks_of(placement(shape), shape.microbatches, target.costs);
  set_memory_model(tracks, target, {.activations = own.activations}, own.name);
  // With as much memory as ZB-V asks for, list schedules find what plans would; short of that, what
  // repeats is hard to beat.
  const Track& largest = *std::ranges::max_element(tracks.tracks, {}, &Track::activation);
  const std::int64_t most = tracks.resident.empty() ? 0 : std::ranges::max(tracks.resident);
  const bool tight = tracks.limit - most < 2 * std::int64_t{shape.ranks} * largest.activation;
  Seeds seeds{.words = zb_v_rounds(tracks), .plans = {}};
  seeds.words.push_back(words_of(tracks, zb_v_published_order(shape)));
  std::int64_t spent = 0;
  if (tight) {
    seeds.plans = find_building_blocks(tracks);
    spent = add_block_words(tracks, target.effort / 6, seeds);
  }
  return orders_of(tracks, arrange(tracks, seeds,
                                   {.objective = own.objective,
                                    .effort = target.effort,
                                    .spent = spent,
                                    .periodic_plans = tight}));
}

// Its paper's measure is the time from a rank's first op to its last.
RankOrders arrange_zb_v(const Shape& shape, const Target& target) {
  return arrange_v(shape, target,
                   {.name = "zb-v",
                    .activations = 2 * std::int64_t{shape.ranks},
                    .objective = {.rank_time_weight = 4}});
}

RankOrders arrange_v_half(const Shape& shape, const Target& target) {
  return arrange_v(shape, target,
                   {.name = "v-half", .activations = shape.ranks + 2 - shape.ranks % 2});
}

RankOrders arrange_v_min(const Shape& shape, const Target& target) {
  return arrange_v(shape, target,
                   {.name = "v-min", .activations = (std::int64_t{shape.ranks} + 4) / 3 * 2});
}

ClosedForm unknown(const Shape& /*shape*/, const StageCosts& /*stage*/, Time /*p2p*/) {
  return {};
}

}  // namespace

RankOrders zb_v_published_order(const Shape& shape) {
  const Shape published{.ranks = shape.ranks,
                        .microbatches = std::max(shape.microbatches, 2 * shape.ranks)};
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    ranks.push_back(zb_v_rank(rank, published));
  }
  return prune(ranks, {.from = published.microbatches, .to = shape.microbatches}, 1);
}

constinit const Family zb_v_family{
    .name = "zb-v",
    .summary = "zero bubble on a V arranged for the costs, in the memory of 1F1B",
    .source = "Controllable Memory, Qi et al., NeurIPS 2024, arXiv 2405.15362",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "depends on the costs",
    .supports = [](const Shape&) { return true; },
    .placement = placement,
    .arrange = arrange_zb_v,
    .closed_form = unknown,
};

constinit const Family v_half_family{
    .name = "v-half",
    .summary = "zero bubble on a V arranged for the costs, in half the memory of 1F1B",
    .source = "Controllable Memory, Qi et al., NeurIPS 2024, arXiv 2405.15362",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "depends on the costs",
    .supports = [](const Shape&) { return true; },
    .placement = placement,
    .arrange = arrange_v_half,
    .closed_form = unknown,
};

constinit const Family v_min_family{
    .name = "v-min",
    .summary = "zero bubble on a V arranged for the costs, in a third of the memory of 1F1B",
    .source = "Controllable Memory, Qi et al., NeurIPS 2024, arXiv 2405.15362",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "depends on the costs",
    .supports = [](const Shape&) { return true; },
    .placement = placement,
    .arrange = arrange_v_min,
    .closed_form = unknown,
};

}  // namespace dualpipe
