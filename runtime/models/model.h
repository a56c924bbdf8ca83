// The models that dualpipe-run trains, behind one table. Each is a set of Stage implementations.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "costs/cost_model.h"
#include "runtime/models/math.h"
#include "runtime/stage.h"

namespace dualpipe {

// What a built-in model is made from. Every rank is given the same options.
struct ModelOptions {
  int stages = 1;
  int microbatches = 1;
  std::uint64_t seed = 0;  // of the parameters and of the choice of training text
  // gpt, mlp: sizes. 0 means the model's default.
  int layers = 0;           // in all; at least one per stage
  int width = 0;            // hidden size
  int sequence_length = 0;  // gpt only: tokens per sample
  int microbatch_size = 0;  // samples per microbatch
  double learning_rate = 0.0;
  std::string text;  // gpt only: the training text itself
  // gpt, mlp: must be what the rank's Math computes in.
  ProductPrecision precision = ProductPrecision::float32;
  CostModel costs;  // spin only: how long each op takes
};

struct Model {
  std::string_view name;
  std::string_view summary;
  // The factory of one rank, whose stages compute by this Math; it and they may outlive the
  // options, but not the Math. Throws Error (usage) saying which option does not fit (fewer layers
  // than stages, a text shorter than one sample, ...).
  StageFactory (*make)(const ModelOptions& options, Math& math);
};

[[nodiscard]] std::span<const Model> models();  // gpt, mlp, spin

// Throws Error (usage) naming the nearest name when there is no such model.
[[nodiscard]] const Model& find_model(std::string_view name);

}  // namespace dualpipe
