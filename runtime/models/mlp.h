// The model `mlp`: linear layers with GELU between them, no residual connections, taught by a fixed
// random function of random inputs. Small and quick: for tests and for wide pipelines.

#pragma once

#include "runtime/models/model.h"
#include "runtime/stage.h"

namespace dualpipe {

// As Model::make. Defaults: 8 layers (at least; as many for every stage), width 64, 32 samples per
// microbatch. The loss is the mean squared error per output.
[[nodiscard]] StageFactory make_mlp(const ModelOptions& options, Math& math);

}  // namespace dualpipe
