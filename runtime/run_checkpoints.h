// RunCheckpoints: the checkpoints of one run - where it goes on from, when one is due, and what all
// ranks must agree on before and after each. What a rank cannot do, rank 0 says, once for all.
//
// All ranks call its functions together, from their own threads; they throw what gather() throws,
// and on rank 0 the Errors that are named below.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/checkpoint.h"
#include "runtime/held_stage.h"
#include "runtime/plain_run.h"
#include "runtime/run_identity.h"
#include "runtime/watchdog.h"

namespace dualpipe {

class RunCheckpoints {
 public:
  // `steps` is the number that the run is to do in all; `identity` what a checkpoint must have to
  // be gone on from. `options` and `waits` must outlive this object.
  RunCheckpoints(const CheckpointOptions& options, const BoundedWait& waits, RunIdentity identity,
                 int steps);

  // Before the first step. Restores the stages where the run goes on from a checkpoint, and says
  // how many steps that has done; 0 where the run begins. Throws Error: usage when the directory
  // has a checkpoint that the run does not go on from, or one of another run, or one that leaves
  // nothing to do, or when a stage cannot be saved; input_output when a file cannot be read;
  // callback when save() or restore() fails.
  [[nodiscard]] int begin(std::span<const HeldStage> stages);
  // Rank 0 alone, after begin(): gives a run without a pipeline the same states, where there are
  // any. Needs every rank's part on this host.
  void restore(PlainRun& plain, int stages) const;

  [[nodiscard]] bool is_due(int steps_done) const {
    return steps_done % options_.every == 0 || steps_done == steps_;
  }
  // Throws Error: input_output when a file cannot be written, callback when save() fails.
  void write(int steps_done, std::span<const HeldStage> stages);

 private:
  [[nodiscard]] bool is_first() const { return waits_.transport().rank() == 0; }
  void refuse_to_overwrite() const;
  [[nodiscard]] std::optional<CheckpointManifest> agree_on_newest() const;
  void require_fitting(const CheckpointManifest& manifest) const;
  void remember(std::uint64_t steps);

  const CheckpointOptions& options_;
  const BoundedWait& waits_;
  CheckpointDirectory directory_;
  RunIdentity identity_;
  int steps_;
  std::optional<CheckpointManifest> resumed_;
  std::vector<std::uint64_t> latest_;  // steps of those read or written, ascending
};

}  // namespace dualpipe
