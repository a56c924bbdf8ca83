// What every stage of a pipeline holds of a model: embedding, decoder layers, multi-token
// prediction modules, output head.

#pragma once

#include <string_view>
#include <vector>

#include "costs/model.h"
#include "costs/parallel.h"

namespace dualpipe {

struct StageLayout {
  bool embedding = false;
  std::vector<int> layers{};  // numbers of decoder layers, ascending; they follow on from stage to
                              // stage
  int mtp_layers = 0;
  bool head = false;  // final norm, output head and loss

  bool operator==(const StageLayout&) const = default;
};

// A layout as Megatron-LM writes it (--pipeline-model-parallel-layout): E embedding, t decoder
// layer, m multi-token prediction module, L output head and loss; | ends a stage; x*n and (..)*n
// repeat; commas and blanks say nothing. "Et*3|(tt|)*29,m|L" is 32 stages of DeepSeek-V3.
// Throws Error (usage), naming the place in `text`: not such a layout; not one E at the begin and
// one L at the end, an empty stage, or other numbers of t and m than the model has.
[[nodiscard]] std::vector<StageLayout> parse_layout(std::string_view text,
                                                    const ModelConfig& model);

// layers / stages decoder layers each. What is left over goes one by one to stages 1, 2, ... and
// last to the first and the last, which hold the embedding and the head besides.
// Throws Error (usage): fewer layers than stages.
[[nodiscard]] std::vector<StageLayout> split_evenly(const ModelConfig& model, int stages);

// By `layout`, by `layers_per_stage` or evenly. The embedding is on the first stage, modules and
// head are on the last, unless the layout says otherwise.
// Requires: stages > 0. Throws Error (usage): both are given, or what is given is not for so many
// stages or not for that model.
[[nodiscard]] std::vector<StageLayout> layout_of(const ModelConfig& model,
                                                 const ParallelConfig& parallel, int stages);

}  // namespace dualpipe
