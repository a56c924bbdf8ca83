// train(): a whole training run of one rank - steps, losses, the word that a step is good,
// verification against a run without a pipeline, and the trace.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/executor.h"
#include "runtime/run_identity.h"
#include "runtime/stage.h"
#include "runtime/transport.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

struct CheckpointOptions {
  std::string directory;
  int every = 10;       // steps; the last step of a run is always one
  bool resume = false;  // go on from the newest checkpoint there, or begin where there is none
};

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
  int first_step = 0;               // of those below; more than 0 in a run that was resumed
  std::vector<double> loss;         // [step], mean over microbatches
  std::vector<Time> step_time;      // [step], the timeline's makespan
  std::vector<Time> tail_time;      // [step], of rank 0 after its last slot: replicas' sum,
                                    // synchronisation and optimizer, without verification
  std::vector<Timeline> timelines;  // [step]
  Time clock_uncertainty{};         // how far any rank's clock may be off in the timelines, which
                                    // say more of each
  std::optional<double> max_gradient_difference;  // over all steps and parameters; with verify
};

// One rank's whole run; every rank calls it with equal arguments. A step whose gradients are not
// complete on every rank leaves the parameters as they were. Throws what Executor::run throws;
// Error (callback) for anything else that a stage throws; Error (usage) when the ranks, or the run
// and its checkpoint, are not of the same identity; Error (input_output) when a checkpoint cannot
// be written or read. A stage that calls exit() ends the job and this process with the code of a
// failed callback.
[[nodiscard]] TrainReport train(const Program& program, Transport& transport,
                                const StageFactory& make_stage, const TrainOptions& options);

}  // namespace dualpipe
