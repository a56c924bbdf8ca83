#include "runtime/train.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/clock.h"
#include "runtime/collectives.h"
#include "runtime/executor.h"
#include "runtime/exit_guard.h"
#include "runtime/held_stage.h"
#include "runtime/job_end.h"
#include "runtime/rank_answers.h"
#include "runtime/run_checkpoints.h"
#include "runtime/run_identity.h"
#include "runtime/run_record.h"
#include "runtime/stage.h"
#include "runtime/status.h"
#include "runtime/status_words.h"
#include "runtime/step_marks.h"
#include "runtime/step_memory.h"
#include "runtime/trainer_call.h"
#include "runtime/transport.h"
#include "runtime/verification.h"
#include "runtime/watchdog.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

// While rank 0 verifies, it computes all the work of all ranks; the others wait for it.
constexpr int verification_patience = 20;

// What must be the same on every rank.
RunIdentity identity_of_ranks(const Program& program, const TrainOptions& options) {
  RunIdentity identity = together(options.identity, options.build);
  add_schedule(program, identity);
  add_communication(program, identity);
  identity.add("number of steps", std::to_string(options.steps));
  identity.add("choice to verify", options.verify ? "yes" : "no");
  identity.add("way of keeping checkpoints",
               options.checkpoints ? fmt::format("{}{}", options.checkpoints->every,
                                                 options.checkpoints->resume ? " resume" : "")
                                   : "none");
  return identity;
}

// What must be the same in the run that has written a checkpoint and in the one that goes on.
RunIdentity identity_of_run(const Program& program, const TrainOptions& options) {
  RunIdentity identity = options.identity;
  add_schedule(program, identity);
  return identity;
}

class Trainer {
 public:
  Trainer(const Program& program, Transport& transport, const StageFactory& make_stage,
          const TrainOptions& options)
      : program_(program),
        transport_(transport),
        options_(options),
        waits_(program, transport,
               options.op_timeout * (options.verify ? verification_patience : 1)),
        executor_(program, transport, make_stage, {.op_timeout = options.op_timeout}) {
    if (options.verify) {
      verification_.emplace(program, waits_, make_stage);
    }
    if (options.checkpoints) {
      checkpoints_.emplace(*options.checkpoints, waits_, identity_of_run(program, options),
                           options.steps);
    }
  }

  TrainReport run() {
    require_same_identity(waits_, identity_of_ranks(program_, options_));
    resume();
    RunRecord record(program_, transport_.rank(), options_.steps - report_.first_step);
    clock_.begin = measure_clock_offset(waits_);
    for (int step = report_.first_step; step < options_.steps; ++step) {
      run_step(step, record);
      if (checkpoints_ && checkpoints_->is_due(step + 1)) {
        transport_.status().publish(step, Activity::synchronizing, transport_.rank());
        checkpoints_->write(step + 1, executor_.stages());
      }
    }
    transport_.status().publish(options_.steps, Activity::synchronizing, 0);
    clock_.end = measure_clock_offset(waits_);
    report_times(record);
    report_memory();
    report_differences();
    await_all(waits_);
    transport_.status().publish(options_.steps, Activity::finished, 0);
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool is_first() const { return transport_.rank() == 0; }

  void resume() {
    if (!checkpoints_) {
      return;
    }
    report_.first_step = checkpoints_->begin(executor_.stages());
    if (verification_ && verification_->plain() != nullptr) {
      checkpoints_->restore(*verification_->plain(), program_.pipeline().stages());
    }
  }

  void run_step(int step, RunRecord& record) {
    const RankStep& done = executor_.run(static_cast<std::uint64_t>(step));
    const Clock::time_point computed = Clock::now();
    executor_.reduce_replicas();
    transport_.status().publish(step, Activity::synchronizing, 0);
    collect_loss(done.loss);
    // Rank 0 has heard from all: every gradient is complete. Only now may any parameter change.
    static_cast<void>(broadcast(waits_, {}));
    executor_.apply_gradients();
    const Time tail = Clock::now() - computed;
    if (verification_) {
      transport_.status().publish(step, Activity::synchronizing, 0);
      verification_->compare(step, executor_);
      await_all(waits_);  // The others wait here, with patience, rather than inside the next step.
    }
    record.add(done);
    if (is_first()) {
      report_.tail_time.push_back(tail);
      report_progress(step);
    }
  }

  void report_progress(int step) const {
    if (options_.progress) {
      call_in_step([&] { return fmt::format("step {}: the report of its loss", step); },
                   [&] { options_.progress(step, report_.loss.back()); });
    }
  }

  // Each microbatch's loss is known to one rank and zero on all others, so sums are exact.
  void collect_loss(const std::vector<double>& loss) {
    const std::vector<std::vector<double>> all =
        gather_values(waits_, std::span(loss), "its losses");
    if (!is_first()) {
      return;
    }
    double sum = 0.0;
    for (std::size_t microbatch = 0; microbatch < loss.size(); ++microbatch) {
      for (const std::vector<double>& theirs : all) {
        sum += theirs[microbatch];
      }
    }
    report_.loss.push_back(sum);
  }

  // The time of every step; and of the typical one, which rank 0 chooses, the timeline.
  void report_times(const RunRecord& record) {
    std::vector<RankExtents> ranks;
    for (const std::vector<ClockLine>& clock :
         gather_values(waits_, std::span<const ClockLine>(&clock_, 1), "its clock")) {
      ranks.push_back({.steps = {}, .clock = clock.front()});
    }
    std::vector<std::vector<StepExtent>> extents =
        gather_values(waits_, record.extents(), "the times of its steps");
    if (record.extents().empty()) {
      return;
    }
    if (is_first()) {
      for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
        ranks[rank].steps = std::move(extents[rank]);
        report_.clock_uncertainty =
            std::max(report_.clock_uncertainty, ranks[rank].clock.summary().uncertainty);
      }
      report_.step_time = step_times(program_, ranks);
      report_.typical_step = typical_step(report_.step_time);
    }
    const std::vector<std::byte> chosen =
        broadcast(waits_, std::as_bytes(std::span(&report_.typical_step, 1)));
    const std::size_t typical =
        values_of<std::size_t>({.rank = 0, .what = "the typical step", .bytes = chosen}, 1).front();
    const auto wholes = gather(waits_, record.whole(typical));
    const std::vector<std::int64_t> kept = largest_per_stage(
        "bytes kept", [](const Stage& stage) { return stage.activation_bytes(); });
    const std::vector<std::int64_t> boundaries = largest_per_stage(
        "boundaries",
        [](const Stage& stage) { return static_cast<std::int64_t>(stage.output_bytes()); });
    if (is_first()) {
      std::vector<RankRecord> records;
      for (std::size_t rank = 0; rank < wholes.size(); ++rank) {
        records.push_back({.step = wholes[rank], .clock = ranks[rank].clock});
      }
      report_.typical = merge_records(program_, records);
      add_bytes(kept, boundaries);
    }
  }

  void add_bytes(const std::vector<std::int64_t>& kept,
                 const std::vector<std::int64_t>& boundaries) {
    for (const std::int64_t bytes : kept) {
      // A stage's slot stays occupied from its forward to the end of its weight half.
      report_.typical.stage_bytes.push_back({.activation = bytes, .weight_operands = bytes});
    }
    for (Transfer& transfer : report_.typical.transfers) {
      transfer.bytes = boundaries[static_cast<std::size_t>(stage_below(transfer.value))];
    }
  }

  // The stage whose output boundary a value passes, one way or the other.
  [[nodiscard]] static int stage_below(const Value& value) {
    return value.kind == ValueKind::activation ? value.stage : value.stage - 1;
  }

  // [stage]: the largest that any rank's stage says of itself; on rank 0.
  template <typename Ask>
  std::vector<std::int64_t> largest_per_stage(std::string_view what, const Ask& ask) {
    std::vector<std::int64_t> largest(static_cast<std::size_t>(program_.pipeline().stages()), 0);
    for (const HeldStage& held : executor_.stages()) {
      largest[static_cast<std::size_t>(held.stage)] = ask(*held.object);
    }
    for (const std::vector<std::int64_t>& theirs :
         gather_values(waits_, std::span<const std::int64_t>(largest), what)) {
      std::ranges::transform(
          largest, theirs, largest.begin(),
          [](std::int64_t one, std::int64_t other) { return std::max(one, other); });
    }
    return largest;
  }

  void report_memory() {
    const StepBytes own = executor_.memory();
    for (const std::vector<StepBytes>& theirs :
         gather_values(waits_, std::span(&own, 1), "the bytes of its steps")) {
      report_.memory.push_back(theirs.front());
    }
  }

  void report_differences() {
    if (verification_ && is_first()) {
      report_.max_gradient_difference = verification_->largest().absolute;
      report_.max_relative_gradient_difference = verification_->largest().relative;
    }
  }

  const Program& program_;
  Transport& transport_;
  const TrainOptions& options_;
  BoundedWait waits_;
  Executor executor_;
  std::optional<Verification> verification_;
  std::optional<RunCheckpoints> checkpoints_;
  ClockLine clock_;
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
  const std::string line = "error: " + reason + "\n";
  // Where the abort has ended the threads alone. Nothing can be done where stderr is closed.
  static_cast<void>(::write(STDERR_FILENO, line.data(), line.size()) == 0);
  ::_exit(static_cast<int>(ExitCode::callback));
}

}  // namespace

void require_same_run(const Program& program, Transport& transport, const TrainOptions& options) {
  heard_by_all(program, transport, [&] {
    require_same_identity(BoundedWait(program, transport, options.op_timeout),
                          identity_of_ranks(program, options));
  });
}

TrainReport train(const Program& program, Transport& transport, const StageFactory& make_stage,
                  const TrainOptions& options) {
  const ExitGuard guard([&](int status) { end_at_exit(program, transport, status); });
  std::optional<Trainer> trainer;  // Outside, for its buffers to outlive the abort.
  return heard_by_all(program, transport, [&] {
    return trainer.emplace(program, transport, make_stage, options).run();
  });
}

}  // namespace dualpipe
