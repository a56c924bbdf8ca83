// Config: what a command works on, resolved from three layers of which each overrides the one
// before: the defaults below, TOML files (--config, one or more), and single values (--set
// key=value). Every key is a row of the table in config_keys.cc, so reading, dumping and describing
// cannot disagree.
//
// Every Error names the place ("bench.toml:7:11", or the --set as it was given) and the key, and
// says what was expected, what was found and what to write instead.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "costs/hardware.h"
#include "costs/model.h"
#include "costs/parallel.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"

namespace dualpipe {

// The [pipeline] table. Whether the family supports this shape is for generate() to say.
struct PipelineConfig {
  std::string schedule = "dualpipe";  // a schedule family, or whatever else a command accepts
  int ranks = 8;
  int microbatches = 20;
  int chunks = 1;  // stages per rank, where the family lets you choose
  std::optional<MemoryLimit> memory_limit = std::nullopt;  // none: what the family is known for
  bool forward_only = false;
  int effort = Target::effort_default;  // ops that a cost-aware family may time

  bool operator==(const PipelineConfig&) const = default;
};

// The [jitter] table: what makes a real step differ from its costs; see Variation.
struct JitterConfig {
  double op = 0.0;
  double transfer = 0.0;
  double microbatch = 0.0;
  std::vector<double> stage_factors;
  std::vector<double> rank_factors;
  int seed = 1;

  bool operator==(const JitterConfig&) const = default;
};

// The [network] table; see NetworkModel.
struct NetworkConfig {
  std::string mode = "eager";    // of network_modes
  std::string sharing = "none";  // of network_sharings
  bool blocking = false;

  bool operator==(const NetworkConfig&) const = default;
};

struct Config {
  PipelineConfig pipeline;
  CostConfig costs;
  // Costs are derived from these three where the model has layers; a cost that is set all the same
  // goes before the derived one.
  ModelConfig model;
  ParallelConfig parallel;
  HardwareConfig hardware;
  NetworkConfig network;
  JitterConfig jitter;

  [[nodiscard]] bool has_model() const { return model.layers > 0; }
  bool operator==(const Config&) const = default;
};

// The values that `text` (TOML) sets, over `base`; `origin` names the file in messages.
// Throws Error (usage): not TOML, an unknown table or key, a value of the wrong type or out of
// range. What depends on the number of stages is for resolve_costs() to say.
[[nodiscard]] Config parse_config(std::string_view text, const std::string& origin, Config base);

// Defaults, then the files at `paths` in order - TOML, or the config.json that Hugging Face keeps
// beside a model, which sets [model] -, then every "key=value" of `sets` in order. A value
// that is not TOML is text as it stands: pipeline.schedule=1f1b needs no quotes. Throws Error
// (input_output) when the file cannot be read, Error (usage) as parse_config() does.
[[nodiscard]] Config load_config(std::span<const std::string> paths,
                                 std::span<const std::string> sets);

// TOML with every key and what it means, from which parse_config() gets the same values back, every
// number exactly. Requires: finite numbers.
[[nodiscard]] std::string dump_config(const Config& config);

// Every key with what it accepts, its default and what it means, for --help.
[[nodiscard]] std::string describe_config();

}  // namespace dualpipe
