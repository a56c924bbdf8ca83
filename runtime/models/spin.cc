#include "runtime/models/spin.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include <fmt/core.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <time.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/models/model_sizes.h"
#include "runtime/models/spin_message.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

constexpr std::string_view name = "spin";

// glibc defines both in a header of its own that <time.h> includes and no one else may.
constexpr clockid_t monotonic = CLOCK_MONOTONIC;  // NOLINT(misc-include-cleaner)
constexpr int absolute = TIMER_ABSTIME;           // NOLINT(misc-include-cleaner)
constexpr std::int64_t second = 1'000'000'000;

std::int64_t nanoseconds_now() {
  timespec now{};
  CHECK(clock_gettime(monotonic, &now) == 0);
  return now.tv_sec * second + now.tv_nsec;
}

// Takes time without using the processor. A sleeper is woken a little late, tens of microseconds
// where the processor has gone to sleep too; what one call overslept, the next one sleeps less, so
// that calls take the modelled time on average and the error does not add up over a step.
class Sleeper {
 public:
  // From the moment `entry` of the call, so what the call does besides sleeping costs nothing.
  void sleep_until(std::int64_t entry, Time duration) {
    const std::int64_t target = entry + std::max<std::int64_t>(0, duration.count() - overslept_);
    timespec end{};
    end.tv_sec = target / second;
    end.tv_nsec = target % second;
    int result = EINTR;
    while (result == EINTR) {
      result = clock_nanosleep(monotonic, absolute, &end, nullptr);
    }
    CHECK(result == 0);
    overslept_ += nanoseconds_now() - entry - duration.count();
  }

 private:
  std::int64_t overslept_ = 0;  // so far, in all
};

void write(const SpinMessage& message, std::span<std::byte> to) {
  CHECK(to.size() == sizeof message);
  std::memcpy(to.data(), &message, sizeof message);
}

void expect(const SpinMessage& expected, std::span<const std::byte> from) {
  SpinMessage found;
  CHECK(from.size() == sizeof found);
  std::memcpy(&found, from.data(), sizeof found);
  require_same(expected, found);
}

struct SpinPlace {
  int stage = 0;
  int stages = 0;
};

class SpinStage final : public Stage {
 public:
  SpinStage(const StageCosts& costs, const SpinPlace& place) : costs_(costs), place_(place) {}

  [[nodiscard]] std::size_t input_bytes() const override {
    return is_first() ? 0 : sizeof(SpinMessage);
  }
  [[nodiscard]] std::size_t output_bytes() const override {
    return is_last() ? 0 : sizeof(SpinMessage);
  }
  [[nodiscard]] std::size_t parameter_count() const override { return 0; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return costs_.bytes.activation; }

  void allocate(int /*activation_slots*/) override { CHECK(prctl(PR_SET_TIMERSLACK, 1UL) == 0); }

  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    const std::int64_t entry = nanoseconds_now();
    pass_forward(op, input, output);
    sleeper_.sleep_until(entry, costs_.forward);
  }
  [[nodiscard]] double loss(int /*microbatch*/) const override { return 0.0; }
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    const std::int64_t entry = nanoseconds_now();
    pass_backward(op, output_gradient, input_gradient);
    sleeper_.sleep_until(entry, costs_.backward_input);
  }
  void backward_weight(const StageOp& /*op*/, std::span<float> gradient) override {
    const std::int64_t entry = nanoseconds_now();
    CHECK(gradient.empty());
    sleeper_.sleep_until(entry, costs_.backward_weight);
  }
  void apply_gradient(std::span<const float> gradient) override { CHECK(gradient.empty()); }

  void backward(const BackwardCall& call) override {
    const std::int64_t entry = nanoseconds_now();
    pass_backward(call.op, call.output_gradient, call.input_gradient);
    sleeper_.sleep_until(entry, costs_.backward());
  }
  void forward_overlapped(const ForwardCall& forward_call, Stage& other,
                          const BackwardCall& backward_call) override {
    const std::int64_t entry = nanoseconds_now();
    const SpinStage* const backward_stage = dynamic_cast<SpinStage*>(&other);
    CHECK(backward_stage != nullptr);
    pass_forward(forward_call.op, forward_call.input, forward_call.output);
    backward_stage->pass_backward(backward_call.op, backward_call.output_gradient,
                                  backward_call.input_gradient);
    sleeper_.sleep_until(entry, overlapped_time(costs_, backward_stage->costs_));
  }

 private:
  [[nodiscard]] bool is_first() const { return place_.stage == 0; }
  [[nodiscard]] bool is_last() const { return place_.stage == place_.stages - 1; }

  void pass_forward(const StageOp& op, std::span<const std::byte> input,
                    std::span<std::byte> output) const {
    if (!is_first()) {
      expect(spin_message(false, place_.stage - 1, op), input);
    }
    if (!is_last()) {
      write(spin_message(false, place_.stage, op), output);
    }
  }
  void pass_backward(const StageOp& op, std::span<const std::byte> output_gradient,
                     std::span<std::byte> input_gradient) const {
    if (!is_last()) {
      expect(spin_message(true, place_.stage + 1, op), output_gradient);
    }
    if (!is_first()) {
      write(spin_message(true, place_.stage, op), input_gradient);
    }
  }

  StageCosts costs_;
  SpinPlace place_;
  Sleeper sleeper_;
};

}  // namespace

void check_spin_options(const ModelOptions& options) {
  require_pipeline(name, options);
  if (options.costs.stages.size() != static_cast<std::size_t>(options.stages)) {
    refuse_option(name, "costs",
                  fmt::format("expected the costs of {} stages, found those of {}", options.stages,
                              options.costs.stages.size()));
  }
}

StageFactory make_spin(const ModelOptions& options, Math& /*math*/) {
  check_spin_options(options);
  return [costs = options.costs](int stage) {
    const SpinPlace place{.stage = stage, .stages = static_cast<int>(costs.stages.size())};
    return std::make_unique<SpinStage>(costs.stages.at(static_cast<std::size_t>(stage)), place);
  };
}

}  // namespace dualpipe
