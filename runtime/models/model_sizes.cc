#include "runtime/models/model_sizes.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"

namespace dualpipe {
namespace {

constexpr int size_max = 1 << 20;

}  // namespace

void refuse_option(std::string_view model, std::string_view option, const std::string& what) {
  throw Error(ExitCode::usage, fmt::format("model {}: {}: {}", model, option, what));
}

void require_pipeline(std::string_view model, const ModelOptions& options) {
  if (options.stages < 1 || options.stages > size_max) {
    refuse_option(
        model, "stages",
        fmt::format("expected a number from 1 to {}, found {}", size_max, options.stages));
  }
  if (options.microbatches < 1) {
    refuse_option(model, "microbatches",
                  fmt::format("expected at least 1, found {}", options.microbatches));
  }
}

int size_or_preset(const SizeOption& option) {
  if (option.given < 0 || option.given > size_max) {
    refuse_option(option.model, option.name,
                  fmt::format("expected a number from 1 to {}, or 0 for the default of {}; found "
                              "{}",
                              size_max, option.preset, option.given));
  }
  return option.given == 0 ? option.preset : option.given;
}

double learning_rate_or_preset(std::string_view model, const ModelOptions& options, double preset) {
  if (!std::isfinite(options.learning_rate) || options.learning_rate < 0.0) {
    refuse_option(model, "learning_rate",
                  fmt::format("expected a positive number, or 0 for the default of {}; found {}",
                              preset, options.learning_rate));
  }
  return options.learning_rate == 0.0 ? preset : options.learning_rate;
}

int layers_or_preset(std::string_view model, const ModelOptions& options, int preset) {
  const int per_stage = (preset + options.stages - 1) / options.stages;
  const int layers = size_or_preset({.model = model,
                                     .name = "layers",
                                     .given = options.layers,
                                     .preset = per_stage * options.stages});
  if (layers < options.stages) {
    refuse_option(model, "layers",
                  fmt::format("expected at least one for each of the {} stages, found {}; use more "
                              "layers or fewer stages",
                              options.stages, layers));
  }
  return layers;
}

LayerRange layers_of_stage(const LayerSplit& split, int stage) {
  CHECK(0 <= stage && stage < split.stages && split.stages <= split.layers);
  const int share = split.layers / split.stages;
  const int remainder = split.layers % split.stages;
  return {.first = stage * share + std::min(stage, remainder),
          .count = share + (stage < remainder ? 1 : 0)};
}

void require_precision(std::string_view model, const ModelOptions& options, const Math& math) {
  const auto name = [](ProductPrecision precision) {
    return precision == ProductPrecision::float32 ? "float32" : "bfloat16";
  };
  if (options.precision != math.precision()) {
    refuse_option(model, "precision",
                  fmt::format("expected {}, which is what this rank computes in; found {}",
                              name(math.precision()), name(options.precision)));
  }
}

void require_memory(std::string_view model, double stage_bytes) {
  const double machine_bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (stage_bytes > machine_bytes) {
    constexpr double gibibyte = 1024.0 * 1024.0 * 1024.0;
    refuse_option(
        model, "sizes",
        fmt::format("one stage with one microbatch would take {:.0f} GiB and this machine "
                    "has {:.1f} GiB; choose a smaller width, sequence or microbatch, or "
                    "more stages",
                    stage_bytes / gibibyte, machine_bytes / gibibyte));
  }
}

}  // namespace dualpipe
