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
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

[[nodiscard]] std::vector<StageBytes> stage_bytes_of(const CostModel& costs);

// Bytes of a rank, by what they are for.
struct MemoryUse {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  std::int64_t receive_buffers = 0;
  std::int64_t activations = 0;
  std::int64_t weight_operands = 0;
  std::int64_t logits = 0;

  [[nodiscard]] std::int64_t total() const {
    return weights + gradients + optimizer + receive_buffers + activations + weight_operands +
           logits;
  }
  bool operator==(const MemoryUse&) const = default;
};

enum class MemoryPurpose : std::uint8_t { training, inference };

// [rank]: what it keeps all the time - the parameters of its stages, once each even where both
// directions of a stage are on it, and for each kind of message from another rank two receive
// buffers, one that is read while the next message arrives in the other. Inference has neither
// gradients, of either sort, nor an optimizer. `bytes` per stage, or empty.
[[nodiscard]] std::vector<MemoryUse> resident_memory(const Placement& placement,
                                                     std::span<const StageBytes> bytes,
                                                     MemoryPurpose purpose);

// Takes a rank's slots in order and keeps count: a slot adds what it allocates when it begins and
// frees when it ends. An activation counts as alive from the begin of its forward to the end of its
// weight half (or whole backward); in inference, where no backward follows, to the end of its
// forward.
class MemoryCount {
 public:
  // `bytes` per stage, or empty where bytes do not matter; must outlive this. `resident` is there
  // from the beginning.
  explicit MemoryCount(std::span<const StageBytes> bytes,
                       MemoryPurpose purpose = MemoryPurpose::training,
                       const MemoryUse& resident = {})
      : bytes_(bytes), purpose_(purpose), alive_(resident), peak_(resident) {}

  void begin(const Slot& slot);
  void end(const Slot& slot);
  void run(const Slot& slot) {
    begin(slot);
    end(slot);
  }

  [[nodiscard]] int peak_activations() const { return peak_activations_; }
  [[nodiscard]] const MemoryUse& alive() const { return alive_; }
  // At the first moment at which the total is largest.
  [[nodiscard]] const MemoryUse& peak() const { return peak_; }

 private:
  [[nodiscard]] StageBytes bytes_of(const Op& op) const {
    return bytes_.empty() ? StageBytes{} : bytes_[static_cast<std::size_t>(op.stage)];
  }
  void take_activation(const Op& op, int sign);
  void note_peak();

  std::span<const StageBytes> bytes_;
  MemoryPurpose purpose_ = MemoryPurpose::training;
  int activations_ = 0;
  int peak_activations_ = 0;
  MemoryUse alive_;
  MemoryUse peak_;
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
