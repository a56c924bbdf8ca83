// The sizes in ModelOptions: their defaults, what is refused, and which layers a stage gets.

#pragma once

#include <string>
#include <string_view>

#include "runtime/models/math.h"
#include "runtime/models/model.h"

namespace dualpipe {

// Throws Error (usage) about one option of one model.
[[noreturn]] void refuse_option(std::string_view model, std::string_view option,
                                const std::string& what);

// Throws Error (usage) when stages or microbatches are not positive.
void require_pipeline(std::string_view model, const ModelOptions& options);

struct SizeOption {
  std::string_view model;
  std::string_view name;
  int given = 0;
  int preset = 0;
};

// The given size, or the preset when it is 0. Throws Error (usage) when negative or beyond what any
// model could have.
[[nodiscard]] int size_or_preset(const SizeOption& option);

// Likewise. Throws Error (usage) when negative or not finite.
[[nodiscard]] double learning_rate_or_preset(std::string_view model, const ModelOptions& options,
                                             double preset);

// The number of layers; by default the preset, rounded up to as many for every stage. Throws Error
// (usage) when there are fewer layers than stages. Requires: require_pipeline().
[[nodiscard]] int layers_or_preset(std::string_view model, const ModelOptions& options, int preset);

struct LayerSplit {
  int layers = 0;
  int stages = 0;
};

struct LayerRange {
  int first = 0;
  int count = 0;
};

// A contiguous share; sizes differ by at most one layer, and the earlier stages get the larger: the
// last one has the head to compute.
[[nodiscard]] LayerRange layers_of_stage(const LayerSplit& split, int stage);

// Throws Error (usage) when the options ask for another precision than this Math computes in.
void require_precision(std::string_view model, const ModelOptions& options, const Math& math);

// Throws Error (usage) when one stage needs more bytes than this machine has memory.
void require_memory(std::string_view model, double stage_bytes);

}  // namespace dualpipe
