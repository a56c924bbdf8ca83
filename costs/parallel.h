// How a model is spread over GPUs besides the pipeline, in the words of a [parallel] table, and
// what of it a backward works out again instead of keeping.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "costs/config_check.h"
#include "costs/model.h"

namespace dualpipe {

inline constexpr std::array<std::string_view, 2> optimizer_shardings{"none", "zero1"};
inline constexpr std::array<std::string_view, 2> number_types{"bf16", "fp8"};
inline constexpr std::array<std::string_view, 3> recompute_words{"none", "selective", "full"};

// One pipeline rank is tensor * context * data GPUs, numbered in that order, the first fastest;
// pipeline ranks follow one another. An expert-parallel group is `expert` GPUs of the
// context * data that hold the same tensor slice, so it must divide their number.
struct ParallelConfig {
  int sequence = 4096;      // tokens
  int microbatch_size = 1;  // sequences
  int tensor = 1;           // slices of every matrix, with sequence parallelism between them
  int context = 1;          // slices of every sequence, by ring attention
  int expert = 1;           // slices of the routed experts of a layer
  int data = 1;             // replicas of the whole pipeline
  int expert_nodes = 0;     // most nodes that a token's routed experts are on; left out: no limit
  double expert_imbalance = 1.2;             // all-to-all traffic of the busiest GPU over the mean
  std::string dispatch_type = "bf16";        // of number_types: tokens on their way to experts
  std::string optimizer_sharding = "zero1";  // of optimizer_shardings: over the data replicas
  double weight_bytes = 2.0;                 // of a parameter: bf16
  double gradient_bytes = 4.0;               // of a parameter: fp32
  double optimizer_bytes = 12.0;  // of a parameter: fp32 master copy and Adam's two moments
  bool flash_attention = true;    // scores are never kept, but worked out again in the backward
  // Of number_types: what is kept because a product with parameters reads it, or the activation
  // function of an MLP does; "fp8" as DeepSeek-V3 keeps it (section 3.3.3). The rest is bf16.
  std::string activation_type = "bf16";
  std::string recompute = "none";  // of recompute_words, for all layers; or for each in turn, as
                                   // "full*8,none*24"
  std::vector<double> layers_per_stage{};  // decoder layers, one number per stage; or:
  std::string layout{};                    // see layout.h; both left out: split_evenly()

  // Tokens of a microbatch on one GPU (before tensor parallelism slices the widths).
  [[nodiscard]] double tokens() const {
    return static_cast<double>(sequence) * microbatch_size / context;
  }
  [[nodiscard]] std::int64_t gpus_per_rank() const { return std::int64_t{tensor} * context * data; }
  // GPUs that hold the same slice of an expert.
  [[nodiscard]] int expert_replicas() const { return context * data / expert; }

  bool operator==(const ParallelConfig&) const = default;
};

// What each number may be whatever the others are.
struct ParallelRanges {
  static constexpr NumberRange sequence{.least = 1, .largest = 100'000'000};
  static constexpr NumberRange microbatch_size{.least = 1, .largest = 100'000};
  static constexpr NumberRange tensor{.least = 1, .largest = 100'000};
  static constexpr NumberRange context{.least = 1, .largest = 1000};
  static constexpr NumberRange expert{.least = 1, .largest = 100'000};
  static constexpr NumberRange data{.least = 1, .largest = 1000};
  static constexpr NumberRange expert_nodes{.least = 0, .largest = 100'000};
  static constexpr NumberRange expert_imbalance{.least = 1.0, .largest = 1000.0};
  static constexpr NumberRange bytes{.least = 0.0, .largest = 1000.0};  // of a parameter, each kind
};

// Bytes of a value of one of number_types: fp8 has an fp32 scale for every 128 values (DeepSeek-V3,
// section 3.3.2).
[[nodiscard]] double value_bytes(std::string_view number_type);

// What a backward works out again.
// - none: nothing.
// - selective: what is large for its FLOP. In a "gqa" model the scores of core attention, where
//   they are kept at all (Korthikanti et al., "Reducing Activation Recomputation in Large
//   Transformer Models", MLSys 2023). In an "mla" model also the outputs of norms, of the
//   up-projections of queries, keys and values, and of SwiGLU (DeepSeek-V3, sections 3.2.3, 3.3).
// - full: the layer, from its input.
enum class Recompute : std::uint8_t { none, selective, full };

// Of every decoder layer; multi-token prediction modules do as the last.
// Throws Error (usage): an unknown word, or another number of them than layers.
[[nodiscard]] std::vector<Recompute> recompute_of_layers(const ParallelConfig& parallel,
                                                         int layers);

// Throws Error (usage): a number out of range, an unknown word, or slices that the model's sizes
// do not divide into. Requires: a model that complete_model() returned.
void require_parallel(const ParallelConfig& parallel, const ModelConfig& model);

}  // namespace dualpipe
