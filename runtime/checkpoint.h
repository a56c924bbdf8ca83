// Checkpoints: what a run needs to go on as if it had never stopped. Each rank writes what its
// stages say of themselves; rank 0, when all have, writes the manifest, which names every part with
// its size and checksum. A checkpoint without a manifest does not exist, so one that was cut short
// is never read, and nobody ever sees half a file.
//
//   DIRECTORY/step-00000010/rank-00000.state   after ten steps
//   DIRECTORY/step-00000010/rank-00001.state
//   DIRECTORY/step-00000010/manifest.json
//
// Files and directories are their owner's alone. The directory is one that all ranks share, or each
// host's own: a rank reads, writes and removes only its parts, and the manifest comes to it from
// rank 0.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/held_stage.h"
#include "runtime/run_identity.h"

namespace dualpipe {

struct CheckpointOptions {
  std::string directory;
  int every = 10;       // steps; the last step of a run is always one
  bool resume = false;  // go on from the newest checkpoint there, or begin where there is none
};

struct CheckpointPart {
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;

  bool operator==(const CheckpointPart&) const = default;
};

struct CheckpointManifest {
  std::uint64_t steps = 0;  // done when it was written
  RunIdentity identity;
  std::vector<CheckpointPart> parts;  // [rank]
};

[[nodiscard]] std::string to_json(const CheckpointManifest& manifest);
// Throws Error (input_output) naming `origin`, the key, what was expected and what was found.
[[nodiscard]] CheckpointManifest parse_manifest(const std::string& text, const std::string& origin);

class CheckpointDirectory {
 public:
  // How many complete checkpoints stay; older ones are removed.
  static constexpr int kept = 2;

  explicit CheckpointDirectory(std::string path) : path_(std::move(path)) {}

  // All throw Error (input_output) naming the file.

  // Any rank. Durable when it returns.
  [[nodiscard]] CheckpointPart write_part(std::uint64_t steps, int rank,
                                          std::span<const std::byte> state) const;
  // Rank 0, when all parts have been written. Then removes what is older than the newest `kept`.
  void write_manifest(const CheckpointManifest& manifest) const;
  // Any rank. Removes the rank's parts of checkpoints with fewer steps, complete or not, and their
  // directories where nothing else is in them.
  void remove_parts_before(std::uint64_t steps, int rank) const;
  // The steps of the newest checkpoint that has a manifest, which is not looked into.
  [[nodiscard]] std::optional<std::uint64_t> newest_steps() const;
  // The newest checkpoint that has a manifest. One that cannot be read is an error, not skipped.
  [[nodiscard]] std::optional<CheckpointManifest> newest() const;
  // Any rank. Refuses a part whose size or checksum is not the manifest's.
  [[nodiscard]] std::vector<std::byte> read_part(const CheckpointManifest& manifest,
                                                 int rank) const;

 private:
  [[nodiscard]] std::string place(std::uint64_t steps) const;
  [[nodiscard]] std::vector<std::uint64_t> begun() const;     // steps, ascending
  [[nodiscard]] std::vector<std::uint64_t> complete() const;  // those with a manifest

  std::string path_;
};

// What all stages of a rank say of themselves, each with its place; and giving it back to stages
// that were made the same way. restore_stages() throws Error (input_output) when the stages are
// others.
[[nodiscard]] std::vector<std::byte> save_stages(std::span<const HeldStage> stages);
void restore_stages(std::span<const std::byte> state, std::span<const HeldStage> stages);
// The state of one stage, of whichever direction, within a rank's; nothing where it is not there.
[[nodiscard]] std::optional<std::vector<std::byte>> find_stage_state(
    std::span<const std::byte> state, int stage);

}  // namespace dualpipe
