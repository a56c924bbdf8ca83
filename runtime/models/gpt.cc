#include "runtime/models/gpt.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "runtime/models/attention.h"
#include "runtime/models/embedding.h"
#include "runtime/models/gpt_stage.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/models/model_sizes.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

constexpr std::string_view name = "gpt";
constexpr int heads = 4;

std::size_t size(std::string_view option, int given, int preset) {
  return static_cast<std::size_t>(
      size_or_preset({.model = name, .name = option, .given = given, .preset = preset}));
}

AttentionShape attention_shape(const ModelOptions& options) {
  const std::size_t width = size("width", options.width, 128);
  if (width % heads != 0) {
    refuse_option(name, "width",
                  fmt::format("expected a multiple of {}, one part per attention head; found {}; "
                              "use {}",
                              heads, width, (width / heads + 1) * heads));
  }
  return {.samples = size("microbatch_size", options.microbatch_size, 4),
          .sequence_length = size("sequence_length", options.sequence_length, 64),
          .heads = heads,
          .head_width = width / heads};
}

// Roughly what the first stage takes: parameters, gradient and two moments, and one slot.
double stage_bytes(const GptConfig& config) {
  const double width = static_cast<double>(config.shape.width());
  const double samples = static_cast<double>(config.shape.samples);
  const double length = static_cast<double>(config.shape.sequence_length);
  const double layers =
      layers_of_stage({.layers = config.layers, .stages = config.stages}, 0).count;
  const double parameters =
      layers * 12.0 * width * width + (static_cast<double>(vocabulary_size) + length) * width;
  const double block =
      samples * length * (23.0 * width + static_cast<double>(config.shape.heads) * length);
  return (4.0 * parameters + layers * block) * sizeof(float);
}

}  // namespace

StageFactory make_gpt(const ModelOptions& options, Math& math) {
  require_pipeline(name, options);
  require_precision(name, options, math);
  const GptConfig config{
      .stages = options.stages,
      .layers = layers_or_preset(name, options, 8),
      .microbatches = options.microbatches,
      .seed = options.seed,
      .shape = attention_shape(options),
      .optimizer = {.learning_rate = learning_rate_or_preset(name, options, 1.5e-3)},
      .text = std::make_shared<const std::string>(options.text)};
  require_memory(name, stage_bytes(config));
  const std::size_t needed = config.shape.sequence_length + 1;
  if (options.text.size() < needed) {
    refuse_option(name, "text",
                  fmt::format("expected at least {} bytes, one more than a sequence; found {}; use "
                              "a longer text or a shorter sequence_length",
                              needed, options.text.size()));
  }
  return [config, &math](int stage) { return std::make_unique<GptStage>(config, stage, math); };
}

}  // namespace dualpipe
