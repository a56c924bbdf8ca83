#include "runtime/models/mlp.h"

#include <cstddef>
#include <memory>
#include <string_view>

#include "runtime/models/math.h"
#include "runtime/models/mlp_stage.h"
#include "runtime/models/model.h"
#include "runtime/models/model_sizes.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

constexpr std::string_view name = "mlp";

std::size_t size(std::string_view option, int given, int preset) {
  return static_cast<std::size_t>(
      size_or_preset({.model = name, .name = option, .given = given, .preset = preset}));
}

// Roughly: parameters, gradient and two moments, and one slot.
double stage_bytes(const MlpConfig& config) {
  const double width = static_cast<double>(config.width);
  const double layers =
      layers_of_stage({.layers = config.layers, .stages = config.stages}, 0).count;
  return layers * (4.0 * width * width + 2.0 * static_cast<double>(config.samples) * width) *
         sizeof(float);
}

}  // namespace

StageFactory make_mlp(const ModelOptions& options, Math& math) {
  require_pipeline(name, options);
  require_precision(name, options, math);
  const MlpConfig config{
      .stages = options.stages,
      .layers = layers_or_preset(name, options, 8),
      .microbatches = options.microbatches,
      .seed = options.seed,
      .samples = size("microbatch_size", options.microbatch_size, 32),
      .width = size("width", options.width, 64),
      .optimizer = {.learning_rate = learning_rate_or_preset(name, options, 5e-3)}};
  require_memory(name, stage_bytes(config));
  return [config, &math](int stage) { return std::make_unique<MlpStage>(config, stage, math); };
}

}  // namespace dualpipe
