#include "scheduler/memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

struct ByteUnit {
  std::string_view name;
  double bytes = 1.0;
};

// Ascending, so that the last one that fits is the one to print in.
constexpr double kibi = 1024.0;
constexpr std::array<ByteUnit, 5> binary_units{{{"B", 1.0},
                                                {"KiB", kibi},
                                                {"MiB", kibi* kibi},
                                                {"GiB", kibi* kibi* kibi},
                                                {"TiB", kibi* kibi* kibi* kibi}}};
constexpr std::array<ByteUnit, 4> decimal_units{
    {{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}};

std::optional<double> bytes_per(std::string_view name) {
  for (const std::span<const ByteUnit> units :
       {std::span<const ByteUnit>(binary_units), std::span<const ByteUnit>(decimal_units)}) {
    for (const ByteUnit& unit : units) {
      if (unit.name == name) {
        return unit.bytes;
      }
    }
  }
  return std::nullopt;
}

struct Amount {
  std::int64_t value = 0;  // of bytes where there is a unit
  bool has_unit = false;
};

// The whole number that `value`, the product of a decimal and a unit, is but for its rounding
// (2.01 * 1e6); else the one below.
std::int64_t whole_below(double value) {
  constexpr double rounding = 0x1p-51;  // half a unit in the last place for each of the two
  const double nearest = std::nearbyint(value);
  return static_cast<std::int64_t>(std::abs(value - nearest) <= nearest * rounding ? nearest
                                                                                   : value);
}

// "8", "40GiB", "1.5MB". Nothing if it is not one, or a fraction of an activation or of a byte. As
// many GiB are seldom a whole number of bytes; what is less than a byte over is left out there,
// which is the same limit.
std::optional<Amount> parse_amount(std::string_view text) {
  double number = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  constexpr double number_max = 9007199254740992.0;  // 2^53: from here on, a double skips
  if (error != std::errc{} || !(number >= 0.0) || number >= number_max) {
    return std::nullopt;
  }
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const std::optional<double> factor = unit.empty() ? 1.0 : bytes_per(unit);
  if (!factor || number * *factor >= number_max) {
    return std::nullopt;
  }
  if (*factor == 1.0 && number != std::floor(number)) {
    return std::nullopt;
  }
  return Amount{.value = whole_below(number * *factor), .has_unit = !unit.empty()};
}

[[noreturn]] void refuse(std::string_view text) {
  throw Error(ExitCode::usage,
              fmt::format("memory limit: expected a whole number of stage activations, such as 8, "
                          "or of bytes with their unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB), "
                          "such as 40GiB; found '{}'",
                          text.substr(0, 40)));
}

std::int64_t peak_of(const MemoryCount& memory, MemoryLimit::Unit unit) {
  return unit == MemoryLimit::Unit::bytes ? memory.peak().total() : memory.peak_activations();
}

}  // namespace

std::vector<StageBytes> stage_bytes_of(const CostModel& costs) {
  std::vector<StageBytes> bytes;
  bytes.reserve(costs.stages.size());
  for (const StageCosts& stage : costs.stages) {
    bytes.push_back(stage.bytes);
  }
  return bytes;
}

std::vector<MemoryUse> resident_memory(const Placement& placement,
                                       std::span<const StageBytes> bytes, MemoryPurpose purpose) {
  std::vector<MemoryUse> resident(static_cast<std::size_t>(placement.ranks));
  if (bytes.empty()) {
    return resident;
  }
  const bool trains = purpose == MemoryPurpose::training;
  constexpr int buffers = 2;
  const std::vector<int>& first_direction = placement.rank_of_stage.front();
  for (const std::vector<int>& rank_of : placement.rank_of_stage) {
    for (std::size_t stage = 0; stage < rank_of.size(); ++stage) {
      MemoryUse& own = resident[static_cast<std::size_t>(rank_of[stage])];
      const bool is_counted =
          &rank_of != &first_direction && first_direction[stage] == rank_of[stage];
      if (!is_counted) {
        own.weights += bytes[stage].weights;
        own.gradients += trains ? bytes[stage].gradients : 0;
        own.optimizer += trains ? bytes[stage].optimizer : 0;
      }
      // An activation from the stage before, a gradient from the one after.
      if (stage > 0 && rank_of[stage - 1] != rank_of[stage]) {
        own.receive_buffers += buffers * bytes[stage - 1].boundary;
      }
      if (trains && stage + 1 < rank_of.size() && rank_of[stage + 1] != rank_of[stage]) {
        own.receive_buffers += buffers * bytes[stage].boundary;
      }
    }
  }
  return resident;
}

void MemoryCount::begin(const Slot& slot) {
  for (const Op& op : slot) {
    if (op.kind == OpKind::forward) {
      ++activations_;
      take_activation(op, 1);
    }
  }
  peak_activations_ = std::max(peak_activations_, activations_);
  note_peak();
}

void MemoryCount::end(const Slot& slot) {
  for (const Op& op : slot) {
    switch (op.kind) {
      case OpKind::forward:
        if (purpose_ == MemoryPurpose::inference) {
          --activations_;
          take_activation(op, -1);
        }
        break;
      case OpKind::backward:
        --activations_;
        take_activation(op, -1);
        break;
      case OpKind::backward_input:
        take_activation(op, -1);
        alive_.weight_operands += bytes_of(op).weight_operands;
        break;
      case OpKind::backward_weight:
        --activations_;
        alive_.weight_operands -= bytes_of(op).weight_operands;
        break;
    }
  }
  note_peak();
}

void MemoryCount::take_activation(const Op& op, int sign) {
  alive_.activations += sign * bytes_of(op).activation;
  alive_.logits += sign * bytes_of(op).logits;
}

void MemoryCount::note_peak() {
  if (alive_.total() > peak_.total()) {
    peak_ = alive_;
  }
}

std::string to_string(const MemoryLimit& limit) {
  if (limit.unit == MemoryLimit::Unit::activations) {
    return fmt::format("{} stage activation{}", limit.amount, limit.amount == 1 ? "" : "s");
  }
  const ByteUnit* fitting = &binary_units.front();
  for (const ByteUnit& unit : binary_units) {
    if (static_cast<double>(limit.amount) >= unit.bytes) {
      fitting = &unit;
    }
  }
  return fmt::format("{:.4g} {}", static_cast<double>(limit.amount) / fitting->bytes,
                     fitting->name);
}

MemoryLimit parse_memory_limit(std::string_view text) {
  const std::optional<Amount> amount = parse_amount(text);
  if (!amount) {
    refuse(text);
  }
  return {.amount = amount->value,
          .unit = amount->has_unit ? MemoryLimit::Unit::bytes : MemoryLimit::Unit::activations};
}

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  const std::optional<Amount> amount = parse_amount(text);
  return amount ? std::optional(amount->value) : std::nullopt;
}

std::vector<MemoryExcess> find_excesses(const Schedule& schedule, std::span<const StageBytes> bytes,
                                        const MemoryLimit& limit) {
  const MemoryPurpose purpose =
      is_forward_only(schedule) ? MemoryPurpose::inference : MemoryPurpose::training;
  const std::vector<MemoryUse> resident =
      resident_memory(schedule.pipeline.placement, bytes, purpose);
  std::vector<MemoryExcess> excesses;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    MemoryCount memory(bytes, purpose, resident[rank]);
    std::optional<std::size_t> first;
    const std::vector<Slot>& slots = schedule.ranks[rank];
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      memory.run(slots[slot]);
      if (!first && peak_of(memory, limit.unit) > limit.amount) {
        first = slot;
      }
    }
    if (first) {
      excesses.push_back({.rank = static_cast<int>(rank),
                          .slot = static_cast<int>(*first),
                          .peak = peak_of(memory, limit.unit)});
    }
  }
  return excesses;
}

std::optional<MemoryExcess> find_excess(const Schedule& schedule, std::span<const StageBytes> bytes,
                                        const MemoryLimit& limit) {
  const std::vector<MemoryExcess> excesses = find_excesses(schedule, bytes, limit);
  return excesses.empty() ? std::nullopt : std::optional(excesses.front());
}

}  // namespace dualpipe
