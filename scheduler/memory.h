// What a rank keeps alive while it runs its slots. A rank runs one slot after another, so its order
// alone says how much that is, whatever time the slots take.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// Bytes that one microbatch keeps alive at a stage.
struct StageBytes {
  std::int64_t activation = 0;       // from the begin of F to the end of B or I
  std::int64_t weight_operands = 0;  // from the end of I to the end of W

  bool operator==(const StageBytes&) const = default;
};

[[nodiscard]] std::vector<StageBytes> stage_bytes_of(const CostModel& costs);

// Takes a rank's slots in order and keeps count: a slot adds what it allocates when it begins and
// frees when it ends. An activation counts as alive from the begin of its forward to the end of its
// weight half (or whole backward); in inference, where no backward follows, to the end of its
// forward.
class MemoryCount {
 public:
  enum class Purpose : std::uint8_t { training, inference };

  // `bytes` per stage, or empty where bytes do not matter; must outlive this.
  explicit MemoryCount(std::span<const StageBytes> bytes, Purpose purpose = Purpose::training)
      : bytes_(bytes), purpose_(purpose) {}

  void run(const Slot& slot);

  [[nodiscard]] int peak_activations() const { return peak_activations_; }
  [[nodiscard]] std::int64_t peak_bytes() const { return peak_bytes_; }

 private:
  [[nodiscard]] StageBytes bytes_of(const Op& op) const {
    return bytes_.empty() ? StageBytes{} : bytes_[static_cast<std::size_t>(op.stage)];
  }

  std::span<const StageBytes> bytes_;
  Purpose purpose_ = Purpose::training;
  int activations_ = 0;
  int peak_activations_ = 0;
  std::int64_t alive_ = 0;
  std::int64_t peak_bytes_ = 0;
};

// The most that any one rank may keep alive.
struct MemoryLimit {
  enum class Unit : std::uint8_t { activations, bytes };
  std::int64_t amount = 0;
  Unit unit = Unit::activations;

  bool operator==(const MemoryLimit&) const = default;
};

// "8 stage activations", "12.5 GiB".
[[nodiscard]] std::string to_string(const MemoryLimit& limit);

// "8" (stage activations) or a number of bytes with its unit: "512MiB", "40GB", "1024B".
// Throws Error (usage).
[[nodiscard]] MemoryLimit parse_memory_limit(std::string_view text);

// "1024", or a number of bytes with its unit as above. Nothing if it is neither.
[[nodiscard]] std::optional<std::int64_t> parse_bytes(std::string_view text);

// A slot that takes a rank over the limit, the first of that rank, with the most the rank comes to
// keep.
struct MemoryExcess {
  int rank = 0;
  int slot = 0;
  std::int64_t peak = 0;  // in the limit's unit, over all of the rank's slots
};
// One for every rank that goes over.
[[nodiscard]] std::vector<MemoryExcess> find_excesses(const Schedule& schedule,
                                                      std::span<const StageBytes> bytes,
                                                      const MemoryLimit& limit);
// The first of them.
[[nodiscard]] std::optional<MemoryExcess> find_excess(const Schedule& schedule,
                                                      std::span<const StageBytes> bytes,
                                                      const MemoryLimit& limit);

}  // namespace dualpipe
