#include "sim/durations.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/slot_time.h"
#include "sim/random.h"

namespace dualpipe {
namespace {

constexpr double time_sum_max = 4e18;  // ns: a step, everything in it one after another

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

[[noreturn]] void refuse(std::string_view key, double most, double found) {
  throw Error(
      ExitCode::usage,
      fmt::format("jitter.{}: expected a number from 0 to {:g}, found {:g}", key, most, found));
}

void check_number(std::string_view key, double most, double value) {
  if (!std::isfinite(value) || value < 0.0 || value > most) {
    refuse(key, most, value);
  }
}

void check_factors(std::string_view key, const std::vector<double>& factors, int count,
                   std::string_view of_what) {
  if (!factors.empty() && factors.size() != at(count)) {
    throw Error(ExitCode::usage,
                fmt::format("jitter.{}: expected none or {} factors, one per {}; found {}", key,
                            count, of_what, factors.size()));
  }
  for (const double factor : factors) {
    check_number(key, Variation::factor_max, factor);
  }
}

double factor_of(const std::vector<double>& factors, int index) {
  return factors.empty() ? 1.0 : factors[at(index)];
}

// One kind of random factor of one step.
class Factors {
 public:
  enum class Stream : std::uint8_t { slots, transfers, microbatches };

  Factors(std::uint64_t step_key, Stream stream, double sigma)
      : key_(random_bits(step_key, static_cast<std::uint64_t>(stream))), sigma_(sigma) {}

  [[nodiscard]] double at(std::size_t number) const {
    return sigma_ > 0.0 ? lognormal_factor(random_bits(key_, number), sigma_) : 1.0;
  }

 private:
  std::uint64_t key_ = 0;
  double sigma_ = 0.0;
};

// Rounds, and adds up what may not overflow.
class Rounding {
 public:
  Time operator()(double nanoseconds) {
    sum_ += nanoseconds;
    if (sum_ > time_sum_max) {
      throw Error(ExitCode::usage,
                  fmt::format("jitter: expected at most {:.0e} ns in a step, all durations "
                              "together, found more; lower the costs or the sigmas",
                              time_sum_max));
    }
    return Time(std::llround(nanoseconds));
  }

 private:
  double sum_ = 0.0;
};

}  // namespace

std::vector<std::size_t> first_slots(const Program& program) {
  std::vector<std::size_t> first{0};
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    first.push_back(first.back() + program.slots(rank).size());
  }
  return first;
}

StepDurations nominal_durations(const Program& program, const CostModel& costs) {
  CHECK(costs.stages.size() == at(program.pipeline().stages()));
  StepDurations durations;
  durations.slots.reserve(first_slots(program).back());
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    for (const Slot& slot : program.slots(rank)) {
      durations.slots.push_back(slot_time(slot, costs));
    }
  }
  durations.transfers.reserve(program.messages().size());
  for (const Message& message : program.messages()) {
    const Channel& channel = program.channel_of(message);
    durations.transfers.push_back(costs.transfer(channel.source, channel.destination));
  }
  return durations;
}

void require_valid(const Variation& variation, const Pipeline& pipeline) {
  check_number("op", Variation::sigma_max, variation.slot_sigma);
  check_number("transfer", Variation::sigma_max, variation.transfer_sigma);
  check_number("microbatch", Variation::sigma_max, variation.microbatch_sigma);
  check_factors("stage_factors", variation.stage_factors, pipeline.stages(), "stage");
  check_factors("rank_factors", variation.rank_factors, pipeline.ranks(), "rank");
}

DurationSampler::DurationSampler(const Program& program, const CostModel& costs,
                                 const Variation& variation)
    : slot_sigma_(variation.slot_sigma),
      transfer_sigma_(variation.transfer_sigma),
      microbatch_sigma_(variation.microbatch_sigma) {
  require_valid(variation, program.pipeline());
  const StepDurations nominal = nominal_durations(program, costs);
  for (const Time transfer : nominal.transfers) {
    transfers_.push_back(static_cast<double>(transfer.count()));
  }
  slots_.reserve(nominal.slots.size());
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    for (const Slot& slot : program.slots(rank)) {
      slots_.push_back(work_of(slot, rank, costs, variation, program.pipeline().microbatches()));
    }
  }
}

DurationSampler::Work DurationSampler::work_of(const Slot& slot, int rank, const CostModel& costs,
                                               const Variation& variation, int microbatches) {
  const double time =
      static_cast<double>(slot_time(slot, costs).count()) * factor_of(variation.rank_factors, rank);
  const auto number_of = [&](const Op& op) { return op.stage * microbatches + op.microbatch; };
  double front_share = 1.0;
  if (slot.is_pair()) {
    const double front = static_cast<double>(slot_time(slot.front(), costs).count());
    const double back = static_cast<double>(slot_time(slot.back(), costs).count());
    front_share = front + back > 0.0 ? front / (front + back) : 0.0;
  }
  // Of shares that add up to exactly 1, the time that is left goes to the second.
  const double front_time = time * front_share;
  return {.front = front_time * factor_of(variation.stage_factors, slot.front().stage),
          .back = (time - front_time) * factor_of(variation.stage_factors, slot.back().stage),
          .front_number = number_of(slot.front()),
          .back_number = number_of(slot.back())};
}

void DurationSampler::draw(std::uint64_t seed, std::uint64_t sample,
                           StepDurations& durations) const {
  using Stream = Factors::Stream;
  const std::uint64_t key = random_bits(random_bits(seed, 0), sample);
  const Factors of_slots(key, Stream::slots, slot_sigma_);
  const Factors of_transfers(key, Stream::transfers, transfer_sigma_);
  const Factors of_microbatches(key, Stream::microbatches, microbatch_sigma_);
  Rounding rounded;
  durations.slots.resize(slots_.size());
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const Work& work = slots_[slot];
    double time = work.front * of_microbatches.at(at(work.front_number));
    if (work.back > 0.0) {
      time += work.back * of_microbatches.at(at(work.back_number));
    }
    durations.slots[slot] = rounded(time * of_slots.at(slot));
  }
  durations.transfers.resize(transfers_.size());
  for (std::size_t message = 0; message < transfers_.size(); ++message) {
    durations.transfers[message] = rounded(transfers_[message] * of_transfers.at(message));
  }
}

StepDurations DurationSampler::draw(std::uint64_t seed, std::uint64_t sample) const {
  StepDurations durations;
  draw(seed, sample, durations);
  return durations;
}

}  // namespace dualpipe
