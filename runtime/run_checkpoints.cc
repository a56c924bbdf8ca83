#include "runtime/run_checkpoints.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/checkpoint.h"
#include "runtime/collectives.h"
#include "runtime/held_stage.h"
#include "runtime/plain_run.h"
#include "runtime/rank_answers.h"
#include "runtime/run_identity.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"

namespace dualpipe {

RunCheckpoints::RunCheckpoints(const CheckpointOptions& options, const BoundedWait& waits,
                               RunIdentity identity, int steps)
    : options_(options),
      waits_(waits),
      directory_(options.directory),
      identity_(std::move(identity)),
      steps_(steps) {}

int RunCheckpoints::begin(std::span<const HeldStage> stages) {
  if (!options_.resume && is_first()) {
    refuse_to_overwrite();
  }
  // Better now than after the first steps: a stage that cannot be saved makes them worthless.
  static_cast<void>(gather_results(waits_, [&] {
    static_cast<void>(save_stages(stages));
    return std::vector<std::byte>{};
  }));
  resumed_ = options_.resume ? agree_on_newest() : std::nullopt;
  if (!resumed_) {
    return 0;
  }
  static_cast<void>(gather_results(waits_, [&] {
    restore_stages(directory_.read_part(*resumed_, waits_.transport().rank()), stages);
    return std::vector<std::byte>{};
  }));
  remember(resumed_->steps);
  return static_cast<int>(resumed_->steps);
}

// Its checkpoints would be mixed with those of another run: the older ones with more steps would
// pass for the newest.
void RunCheckpoints::refuse_to_overwrite() const {
  if (const std::optional<std::uint64_t> steps = directory_.newest_steps()) {
    throw Error(ExitCode::usage,
                fmt::format("'{}' has a checkpoint of {} steps already, which a run from the start "
                            "would spoil; go on from it with --resume, or give another directory",
                            options_.directory, *steps));
  }
}

std::optional<CheckpointManifest> RunCheckpoints::agree_on_newest() const {
  std::string text;
  if (is_first()) {
    if (const std::optional<CheckpointManifest> newest = directory_.newest()) {
      require_fitting(*newest);
      text = to_json(*newest);
    }
  }
  const std::vector<std::byte> bytes = broadcast(waits_, std::as_bytes(std::span(text)));
  if (bytes.empty()) {
    return std::nullopt;
  }
  const std::string_view manifest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return parse_manifest(std::string(manifest), "the checkpoint's manifest");
}

void RunCheckpoints::require_fitting(const CheckpointManifest& manifest) const {
  if (const auto names = identity_.differences(manifest.identity); !names.empty()) {
    throw Error(ExitCode::usage,
                fmt::format("the checkpoint in '{}' was written by a run with another {}; go on "
                            "with the options it was written with, or give another directory",
                            options_.directory, fmt::join(names, ", another ")));
  }
  if (std::cmp_not_equal(manifest.parts.size(), waits_.transport().ranks())) {
    throw Error(ExitCode::input_output,
                fmt::format("the checkpoint in '{}' has parts of {} ranks; expected {}",
                            options_.directory, manifest.parts.size(), waits_.transport().ranks()));
  }
  if (std::cmp_greater_equal(manifest.steps, steps_)) {
    throw Error(ExitCode::usage,
                fmt::format("the checkpoint in '{}' has done {} steps and {} were asked for in "
                            "all: nothing is left to do; ask for more steps",
                            options_.directory, manifest.steps, steps_));
  }
}

void RunCheckpoints::restore(PlainRun& plain, int stages) const {
  for (int rank = 0; resumed_ && rank < waits_.transport().ranks(); ++rank) {
    const std::vector<std::byte> state = directory_.read_part(*resumed_, rank);
    for (int stage = 0; stage < stages; ++stage) {
      if (const auto found = find_stage_state(state, stage)) {
        plain.restore(stage, *found);
      }
    }
  }
}

void RunCheckpoints::write(int steps_done, std::span<const HeldStage> stages) {
  const std::uint64_t steps = static_cast<std::uint64_t>(steps_done);
  const int own_rank = waits_.transport().rank();
  const std::vector<std::vector<std::byte>> parts = gather_results(waits_, [&] {
    const CheckpointPart part = directory_.write_part(steps, own_rank, save_stages(stages));
    const std::span<const std::byte> bytes = std::as_bytes(std::span(&part, 1));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  });
  if (is_first()) {
    CheckpointManifest manifest{.steps = steps, .identity = identity_, .parts = {}};
    for (std::size_t rank = 0; rank < parts.size(); ++rank) {
      const RankBytes sent{
          .rank = static_cast<int>(rank), .what = "its checkpoint", .bytes = parts[rank]};
      manifest.parts.push_back(values_of<CheckpointPart>(sent, 1).front());
    }
    directory_.write_manifest(manifest);
  }
  remember(steps);
}

// Where every host has a directory of its own, nobody but the rank itself removes its parts. This
// checkpoint's manifest may not be written yet, but those of the `kept` before it are: rank 0 has
// written each before it let the next step begin.
void RunCheckpoints::remember(std::uint64_t steps) {
  latest_.push_back(steps);
  if (latest_.size() > CheckpointDirectory::kept + 1) {
    latest_.erase(latest_.begin());
    directory_.remove_parts_before(latest_.front(), waits_.transport().rank());
  }
}

}  // namespace dualpipe
