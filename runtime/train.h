// train(): a whole training run of one rank - steps, losses, the word that a step is good,
// verification against a run without a pipeline, and the trace.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "costs/cost_model.h"
#include "runtime/checkpoint.h"
#include "runtime/run_identity.h"
#include "runtime/stage.h"
#include "runtime/step_memory.h"
#include "runtime/transport.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

struct TrainOptions {
  int steps = 1;        // in all, those before a resumed checkpoint included
  bool verify = false;  // rank 0 recomputes each step without a pipeline and compares gradients
  std::chrono::nanoseconds op_timeout = std::chrono::seconds(60);
  // Called on rank 0 after each step with its number (from 0) and loss.
  std::function<void(int step, double loss)> progress;
  std::optional<CheckpointOptions> checkpoints;
  // What must be the same on every rank, and in a run that goes on from a checkpoint: of the
  // caller's concerns, as the model and its data; the program's own are added.
  RunIdentity identity;
  // What must be the same on every rank, but may change between a checkpoint and its resumption.
  RunIdentity build;
};

// What rank 0 knows after a run; empty on the other ranks.
struct TrainReport {
  int first_step = 0;           // of those below; more than 0 in a run that was resumed
  std::vector<double> loss;     // [step], mean over microbatches
  std::vector<Time> step_time;  // [step], from the first slot of any rank to the last
  std::vector<Time> tail_time;  // [step], of rank 0 after its last slot: replicas' sum,
                                // synchronisation and optimizer, without verification
  // The step of median duration among the newest RunRecord::whole_steps_max, the run's first left
  // out where there are others: its place in the lists above, and its timeline.
  std::size_t typical_step = 0;
  Timeline typical;
  Time clock_uncertainty{};       // how far any rank's clock may be off in the times, of which the
                                  // timeline says more
  std::vector<StepBytes> memory;  // [rank]
  // Over all steps and parameters; with verify.
  std::optional<double> max_gradient_difference;           // infinite where one is not finite
  std::optional<double> max_relative_gradient_difference;  // GradientDifference::relative
};

// Throws Error (usage), on rank 0, naming the ranks whose program or options are not those of
// rank 0, and what differs; the others learn of it by its abort. All ranks call it together.
// train() does the same: this is for whoever opens something before that only fits equal programs.
void require_same_run(const Program& program, Transport& transport, const TrainOptions& options);

// One rank's whole run; every rank calls it with equal arguments. A step whose gradients are not
// complete on every rank leaves the parameters as they were. Throws what Executor::run throws;
// Error (callback) naming the call for anything that a stage or `progress` throws, except that an
// Error from making or allocating a stage keeps its code; Error (usage) when the ranks, or the run
// and its checkpoint, are not of the same identity, when the directory of checkpoints has one that
// the run does not go on from, or when a stage cannot be saved for them; Error
// (input_output) when a checkpoint cannot be written or read; Error (transport) naming a rank that
// sends something else than its share. A stage that calls exit() ends the job and this process with
// the code of a failed callback.
[[nodiscard]] TrainReport train(const Program& program, Transport& transport,
                                const StageFactory& make_stage, const TrainOptions& options);

}  // namespace dualpipe
