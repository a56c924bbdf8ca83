#include "runtime/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/checkpoint.h"
#include "runtime/clock.h"
#include "runtime/collectives.h"
#include "runtime/executor.h"
#include "runtime/exit_guard.h"
#include "runtime/held_stage.h"
#include "runtime/plain_run.h"
#include "runtime/rank_plan.h"
#include "runtime/run_identity.h"
#include "runtime/run_record.h"
#include "runtime/stage.h"
#include "runtime/status.h"
#include "runtime/status_words.h"
#include "runtime/step_marks.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

// While rank 0 verifies, it computes all the work of all ranks; the others wait for it.
constexpr int verification_patience = 20;

template <typename Value>
std::vector<Value> values_of(std::span<const std::byte> bytes) {
  CHECK(bytes.size() % sizeof(Value) == 0);
  std::vector<Value> values(bytes.size() / sizeof(Value));
  if (!bytes.empty()) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return values;
}

class Trainer {
 public:
  Trainer(const Program& program, Transport& transport, const StageFactory& make_stage,
          const TrainOptions& options)
      : program_(program),
        transport_(transport),
        options_(options),
        checkpoints_(options.checkpoints ? &*options.checkpoints : nullptr),
        waits_(program, transport,
               options.op_timeout * (options.verify ? verification_patience : 1)),
        executor_(program, transport, make_stage, {.op_timeout = options.op_timeout}) {
    if (options.verify && is_first()) {
      plain_ =
          std::make_unique<PlainRun>(transport.device(), make_stage, program.pipeline().stages(),
                                     program.pipeline().microbatches());
    }
  }

  TrainReport run() {
    identity_ = options_.identity;
    add_schedule(program_, identity_);
    RunIdentity shared = together(identity_, options_.build);
    add_communication(program_, shared);
    require_same_identity(waits_, shared);
    resume();
    clock_.begin = measure_clock_offset(waits_);
    for (int step = report_.first_step; step < options_.steps; ++step) {
      run_step(step);
      if (checkpoints_ != nullptr &&
          ((step + 1) % checkpoints_->every == 0 || step + 1 == options_.steps)) {
        transport_.status().publish(step, Activity::synchronizing, transport_.rank());
        checkpoint(step + 1);
      }
    }
    transport_.status().publish(options_.steps, Activity::synchronizing, 0);
    clock_.end = measure_clock_offset(waits_);
    collect_record();
    synchronize();
    transport_.status().publish(options_.steps, Activity::finished, 0);
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool is_first() const { return transport_.rank() == 0; }

  void run_step(int step) {
    const RankStep& done = executor_.run(static_cast<std::uint64_t>(step));
    const Clock::time_point computed = Clock::now();
    executor_.reduce_replicas();
    transport_.status().publish(step, Activity::synchronizing, 0);
    collect_loss(done.loss);
    synchronize();  // Every gradient is complete: only now may any parameter change.
    executor_.apply_gradients();
    const Time tail = Clock::now() - computed;
    if (options_.verify) {
      transport_.status().publish(step, Activity::synchronizing, 0);
      verify(step);
      synchronize();  // The others wait here, with patience, rather than inside the next step.
    }
    record_.add(done);
    if (is_first()) {
      report_.tail_time.push_back(tail);
      if (options_.progress) {
        options_.progress(step, report_.loss.back());
      }
    }
  }

  // Each microbatch's loss is known to one rank and zero on all others, so sums are exact.
  void collect_loss(const std::vector<double>& loss) {
    const auto all = gather(waits_, std::as_bytes(std::span(loss)));
    if (!is_first()) {
      return;
    }
    double sum = 0.0;
    for (std::size_t microbatch = 0; microbatch < loss.size(); ++microbatch) {
      for (const std::vector<std::byte>& bytes : all) {
        sum += values_of<double>(bytes)[microbatch];
      }
    }
    report_.loss.push_back(sum);
  }

  void synchronize() {
    static_cast<void>(gather(waits_, {}));
    static_cast<void>(broadcast(waits_, {}));
  }

  // --- checkpoints ---

  void resume() {
    if (checkpoints_ == nullptr || !checkpoints_->resume) {
      return;
    }
    const CheckpointDirectory directory(checkpoints_->directory);
    std::string text;
    if (is_first()) {
      if (const std::optional<CheckpointManifest> newest = directory.newest()) {
        text = to_json(*newest);
      }
    }
    const std::vector<std::byte> bytes = broadcast(waits_, std::as_bytes(std::span(text)));
    if (bytes.empty()) {
      return;
    }
    const std::string_view manifest_text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const CheckpointManifest manifest =
        parse_manifest(std::string(manifest_text), "the checkpoint's manifest");
    require_fitting(manifest);
    restore_stages(directory.read_part(manifest, transport_.rank()), executor_.stages());
    if (plain_) {
      restore_plain_run(directory, manifest);
    }
    report_.first_step = static_cast<int>(manifest.steps);
  }

  void require_fitting(const CheckpointManifest& manifest) const {
    if (const auto names = identity_.differences(manifest.identity); !names.empty()) {
      throw Error(ExitCode::usage,
                  fmt::format("the checkpoint in '{}' was written by a run with another {}; go on "
                              "with the options it was written with, or give another directory",
                              checkpoints_->directory, fmt::join(names, ", another ")));
    }
    if (std::cmp_not_equal(manifest.parts.size(), transport_.ranks())) {
      throw Error(ExitCode::input_output,
                  fmt::format("the checkpoint in '{}' has parts of {} ranks; expected {}",
                              checkpoints_->directory, manifest.parts.size(), transport_.ranks()));
    }
    if (std::cmp_greater_equal(manifest.steps, options_.steps)) {
      throw Error(ExitCode::usage,
                  fmt::format("the checkpoint in '{}' has done {} steps and {} were asked for in "
                              "all: nothing is left to do; ask for more steps",
                              checkpoints_->directory, manifest.steps, options_.steps));
    }
  }

  // Needs every rank's part on rank 0's host.
  void restore_plain_run(const CheckpointDirectory& directory, const CheckpointManifest& manifest) {
    for (int rank = 0; rank < transport_.ranks(); ++rank) {
      const std::vector<std::byte> state = directory.read_part(manifest, rank);
      for (int stage = 0; stage < program_.pipeline().stages(); ++stage) {
        if (const auto found = find_stage_state(state, stage)) {
          plain_->restore(stage, *found);
        }
      }
    }
  }

  void checkpoint(int steps) {
    const CheckpointDirectory directory(checkpoints_->directory);
    const CheckpointPart part = directory.write_part(
        static_cast<std::uint64_t>(steps), transport_.rank(), save_stages(executor_.stages()));
    const auto parts = gather(waits_, std::as_bytes(std::span(&part, 1)));
    if (!is_first()) {
      return;
    }
    CheckpointManifest manifest{
        .steps = static_cast<std::uint64_t>(steps), .identity = identity_, .parts = {}};
    for (const std::vector<std::byte>& one : parts) {
      manifest.parts.push_back(values_of<CheckpointPart>(one).front());
    }
    directory.write_manifest(manifest);
  }

  // Compares the gradients of every rank with those of a run without a pipeline.
  void verify(int step) {
    std::vector<float> mine;
    for (const HeldStage& held : executor_.stages()) {
      const std::vector<float> gradient = executor_.read(held.gradient);
      mine.insert(mine.end(), gradient.begin(), gradient.end());
    }
    const auto all = gather(waits_, std::as_bytes(std::span(mine)));
    if (!is_first()) {
      return;
    }
    plain_->run(static_cast<std::uint64_t>(step));
    double largest = report_.max_gradient_difference.value_or(0.0);
    for (int rank = 0; rank < transport_.ranks(); ++rank) {
      largest = std::max(largest,
                         difference(rank, values_of<float>(all[static_cast<std::size_t>(rank)])));
    }
    report_.max_gradient_difference = largest;
    plain_->apply_gradients();
  }

  // The largest absolute difference of one rank's gradients; infinite where either is not a number.
  [[nodiscard]] double difference(int rank, const std::vector<float>& gradients) {
    double largest = 0.0;
    std::size_t next = 0;
    for (const RankPlan::HeldStage& held : plan_rank(program_, rank).stages) {
      for (const float expected : executor_.read(plain_->gradient(held.stage))) {
        const double apart =
            std::abs(static_cast<double>(gradients[next++]) - static_cast<double>(expected));
        largest =
            std::isnan(apart) ? std::numeric_limits<double>::infinity() : std::max(largest, apart);
      }
    }
    CHECK(next == gradients.size());
    return largest;
  }

  void collect_record() {
    const auto clocks = gather(waits_, std::as_bytes(std::span(&clock_, 1)));
    std::vector<std::vector<std::byte>> bytes = gather(waits_, record_.bytes());
    const std::vector<StageBytes> kept = stage_bytes();
    const std::vector<std::int64_t> boundaries = boundary_bytes();
    if (!is_first()) {
      return;
    }
    std::vector<RankRecord> records;
    for (std::size_t rank = 0; rank < bytes.size(); ++rank) {
      records.push_back(
          {.bytes = std::move(bytes[rank]), .clock = values_of<ClockLine>(clocks[rank]).front()});
      report_.clock_uncertainty =
          std::max(report_.clock_uncertainty, records.back().clock.summary().uncertainty);
    }
    report_.timelines = merge_records(program_, records, options_.steps - report_.first_step);
    for (Timeline& timeline : report_.timelines) {
      timeline.stage_bytes = kept;
      for (Transfer& transfer : timeline.transfers) {
        transfer.bytes = boundaries[static_cast<std::size_t>(stage_below(transfer.value))];
      }
      report_.step_time.push_back(makespan(timeline));
    }
  }

  // The stage whose output boundary a value passes, one way or the other.
  [[nodiscard]] static int stage_below(const Value& value) {
    return value.kind == ValueKind::activation ? value.stage : value.stage - 1;
  }

  // [stage]: of one message between it and the next.
  std::vector<std::int64_t> boundary_bytes() {
    std::vector<std::int64_t> mine(static_cast<std::size_t>(program_.pipeline().stages()), 0);
    for (const HeldStage& held : executor_.stages()) {
      mine[static_cast<std::size_t>(held.stage)] =
          static_cast<std::int64_t>(held.object->output_bytes());
    }
    std::vector<std::int64_t> largest(mine.size());
    for (const std::vector<std::byte>& one : gather(waits_, std::as_bytes(std::span(mine)))) {
      const std::vector<std::int64_t> theirs = values_of<std::int64_t>(one);
      std::ranges::transform(largest, theirs, largest.begin(),
                             [](std::int64_t a, std::int64_t b) { return std::max(a, b); });
    }
    return largest;
  }

  // What one microbatch keeps alive at each stage, as the stages themselves say.
  std::vector<StageBytes> stage_bytes() {
    std::vector<std::int64_t> mine(static_cast<std::size_t>(program_.pipeline().stages()), 0);
    for (const HeldStage& held : executor_.stages()) {
      mine[static_cast<std::size_t>(held.stage)] = held.object->activation_bytes();
    }
    std::vector<StageBytes> largest(mine.size());
    for (const std::vector<std::byte>& one : gather(waits_, std::as_bytes(std::span(mine)))) {
      const std::vector<std::int64_t> theirs = values_of<std::int64_t>(one);
      for (std::size_t stage = 0; stage < largest.size(); ++stage) {
        // A stage's slot stays occupied from its forward to the end of its weight half.
        largest[stage].activation = std::max(largest[stage].activation, theirs[stage]);
        largest[stage].weight_operands = largest[stage].activation;
      }
    }
    return largest;
  }

  const Program& program_;
  Transport& transport_;
  const TrainOptions& options_;
  const CheckpointOptions* checkpoints_;  // nullptr: none
  BoundedWait waits_;
  Executor executor_;
  std::unique_ptr<PlainRun> plain_;  // rank 0 only, with verify
  ClockLine clock_;
  RunRecord record_;
  RunIdentity identity_;
  TrainReport report_;
};

// Ends the job, and the process, because the trainer's code has called exit().
[[noreturn]] void end_at_exit(const Program& program, Transport& transport, int status) {
  const int rank = transport.rank();
  const RankStatus now = transport.status().read();
  const std::string reason =
      fmt::format("rank {}, step {}: the process called exit({}) while the rank {}{}", rank,
                  now.step, status, describe(program, now, rank), past_line(program, now, rank));
  transport.abort(ExitCode::callback, reason);
  const std::string line = reason + "\n";
  // Where the abort has ended the threads alone. Nothing can be done where stderr is closed.
  static_cast<void>(::write(STDERR_FILENO, line.data(), line.size()) == 0);
  ::_exit(static_cast<int>(ExitCode::callback));
}

}  // namespace

TrainReport train(const Program& program, Transport& transport, const StageFactory& make_stage,
                  const TrainOptions& options) {
  const ExitGuard guard([&](int status) { end_at_exit(program, transport, status); });
  std::optional<Trainer> trainer;  // Outside, for its buffers to outlive the abort.
  try {
    return trainer.emplace(program, transport, make_stage, options).run();
  } catch (const Error& error) {
    transport.abort(error.code(), error.what());
    throw;
  } catch (const std::exception& error) {
    transport.abort(ExitCode::internal_error, error.what());
    throw;
  } catch (...) {
    const RankStatus now = transport.status().read();
    const std::string reason = fmt::format(
        "rank {}, step {}: something that is no std::exception was thrown while the rank {}",
        transport.rank(), now.step, describe(program, now, transport.rank()));
    transport.abort(ExitCode::callback, reason);
    throw Error(ExitCode::callback, reason);
  }
}

}  // namespace dualpipe
