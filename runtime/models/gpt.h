// The model `gpt`: a decoder-only transformer over bytes, trained with AdamW.

#pragma once

#include "runtime/models/model.h"
#include "runtime/stage.h"

namespace dualpipe {

// As Model::make. Defaults: 8 layers (at least; as many for every stage), width 128 in 4 heads, 64
// tokens per sample, 4 samples per microbatch.
[[nodiscard]] StageFactory make_gpt(const ModelOptions& options, Math& math);

}  // namespace dualpipe
