#include "cli/config_keys.h"

#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include <fmt/core.h>
#include <fmt/format.h>

#include "cli/config.h"
#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/memory.h"

namespace dualpipe {
namespace {

// The key's field: a member of a table, which is a member of the config.
template <auto Table, auto Member>
ConfigField field_of(Config& config) {
  return &(config.*Table.*Member);
}

constexpr std::array keys = std::to_array<ConfigKey>({
    {.table = "pipeline",
     .name = "schedule",
     .field = field_of<&Config::pipeline, &PipelineConfig::schedule>,
     .meaning = "schedule family: one that `dualpipe-sim list` shows"},
    {.table = "pipeline",
     .name = "ranks",
     .field = field_of<&Config::pipeline, &PipelineConfig::ranks>,
     .range = {1, 100'000},
     .meaning = "devices in the pipeline"},
    {.table = "pipeline",
     .name = "microbatches",
     .field = field_of<&Config::pipeline, &PipelineConfig::microbatches>,
     .range = {1, 10'000'000},
     .meaning = "microbatches per step, over both directions where there are two"},
    {.table = "pipeline",
     .name = "chunks",
     .field = field_of<&Config::pipeline, &PipelineConfig::chunks>,
     .range = {1, 1024},
     .meaning = "stages per rank, where the family lets you choose"},
    {.table = "pipeline",
     .name = "memory_limit",
     .field = field_of<&Config::pipeline, &PipelineConfig::memory_limit>,
     .meaning = "most that a rank may keep alive: stage activations, or \"40GiB\""},
    {.table = "pipeline",
     .name = "forward_only",
     .field = field_of<&Config::pipeline, &PipelineConfig::forward_only>,
     .meaning = "inference: the schedule's forwards, without its backwards"},
    {.table = "pipeline",
     .name = "effort",
     .field = field_of<&Config::pipeline, &PipelineConfig::effort>,
     .range = {0, 2'000'000'000},
     .meaning = "ops to time while a cost-aware family improves its order"},
    {.table = "costs",
     .name = "unit",
     .field = field_of<&Config::costs, &CostConfig::unit>,
     .choices = cost_units,
     .meaning = "unit of the times below"},
    {.table = "costs",
     .name = "per",
     .field = field_of<&Config::costs, &CostConfig::per>,
     .choices = cost_shares,
     .meaning = "costs below are of a rank's 1/P share of the model, or of one stage"},
    {.table = "costs",
     .name = "forward",
     .field = field_of<&Config::costs, &CostConfig::forward>,
     .meaning = "one forward: a number, or a list with one per stage"},
    {.table = "costs",
     .name = "backward_input",
     .field = field_of<&Config::costs, &CostConfig::backward_input>,
     .meaning = "input-gradient half of a backward"},
    {.table = "costs",
     .name = "backward_weight",
     .field = field_of<&Config::costs, &CostConfig::backward_weight>,
     .meaning = "weight-gradient half of a backward"},
    {.table = "costs",
     .name = "overlapped",
     .field = field_of<&Config::costs, &CostConfig::overlapped>,
     .meaning = "one forward with one full backward; their sum when left out"},
    {.table = "costs",
     .name = "p2p",
     .field = field_of<&Config::costs, &CostConfig::p2p>,
     .meaning = "one boundary transfer between two ranks"},
    {.table = "costs",
     .name = "p2p_latency",
     .field = field_of<&Config::costs, &CostConfig::p2p_latency>,
     .meaning =
         "how much of p2p is latency, and not bytes over bandwidth; all of it when left out"},
    {.table = "costs",
     .name = "p2p_in_node",
     .field = field_of<&Config::costs, &CostConfig::p2p_in_node>,
     .meaning = "p2p between ranks of one node; p2p when left out"},
    {.table = "costs",
     .name = "p2p_in_node_latency",
     .field = field_of<&Config::costs, &CostConfig::p2p_in_node_latency>,
     .meaning = "how much of p2p_in_node is latency; all of it when left out"},
    {.table = "costs",
     .name = "ranks_per_node",
     .field = field_of<&Config::costs, &CostConfig::ranks_per_node>,
     .range = {1, 100'000},
     .meaning = "so many ranks in a row share a node"},
    {.table = "costs",
     .name = "activation_bytes",
     .field = field_of<&Config::costs, &CostConfig::activation_bytes>,
     .meaning = "bytes that a forward keeps until its backward"},
    {.table = "costs",
     .name = "weight_operand_bytes",
     .field = field_of<&Config::costs, &CostConfig::weight_operand_bytes>,
     .meaning = "bytes that an input-gradient half keeps for its weight half"},
    {.table = "costs",
     .name = "logits_bytes",
     .field = field_of<&Config::costs, &CostConfig::logits_bytes>,
     .meaning = "bytes that a forward of the last stage keeps beside its activation"},
    {.table = "costs",
     .name = "boundary_bytes",
     .field = field_of<&Config::costs, &CostConfig::boundary_bytes>,
     .meaning = "bytes of one message to or from a neighbour"},
    {.table = "costs",
     .name = "weight_bytes",
     .field = field_of<&Config::costs, &CostConfig::weight_bytes>,
     .meaning = "bytes of the parameters"},
    {.table = "costs",
     .name = "gradient_bytes",
     .field = field_of<&Config::costs, &CostConfig::gradient_bytes>,
     .meaning = "bytes of the parameters' gradients"},
    {.table = "costs",
     .name = "optimizer_bytes",
     .field = field_of<&Config::costs, &CostConfig::optimizer_bytes>,
     .meaning = "bytes of the optimizer's state"},
    {.table = "costs",
     .name = "replica_reduce",
     .field = field_of<&Config::costs, &CostConfig::replica_reduce>,
     .meaning = "adding the gradients of the two replicas of a bidirectional pipeline"},
    {.table = "costs",
     .name = "gradient_reduce",
     .field = field_of<&Config::costs, &CostConfig::gradient_reduce>,
     .meaning = "reducing gradients over the data-parallel group"},
    {.table = "costs",
     .name = "optimizer",
     .field = field_of<&Config::costs, &CostConfig::optimizer>,
     .meaning = "the optimizer's update"},
    {.table = "costs",
     .name = "parameter_gather",
     .field = field_of<&Config::costs, &CostConfig::parameter_gather>,
     .meaning = "gathering parameters from a sharded optimizer"},
    {.table = "costs",
     .name = "gradient_norm",
     .field = field_of<&Config::costs, &CostConfig::gradient_norm>,
     .meaning = "from the last rank's gradients to every rank's optimizer"},
    {.table = "costs",
     .name = "post_validation",
     .field = field_of<&Config::costs, &CostConfig::post_validation>,
     .meaning = "the optimizer does not wait for the gradient norm"},
});

// What the keys accept, by the type of their field.
struct Expectation {
  const ConfigKey& key;

  std::string operator()(const std::string* /*field*/) const {
    return key.choices.empty() ? "a text that is not empty"
                               : fmt::format("one of \"{}\"", fmt::join(key.choices, "\", \""));
  }
  std::string operator()(const int* /*field*/) const {
    return fmt::format("a whole number from {} to {}", key.range.min, key.range.max);
  }
  std::string operator()(const bool* /*field*/) const { return "true or false"; }
  std::string operator()(const double* /*field*/) const { return "a number of 0 or more"; }
  std::string operator()(const CostValue* /*field*/) const {
    return "a number of 0 or more, or a list of them with one per stage";
  }
  std::string operator()(const std::optional<CostValue>* /*field*/) const {
    return (*this)(static_cast<const CostValue*>(nullptr));
  }
  std::string operator()(const std::optional<double>* /*field*/) const {
    return (*this)(static_cast<const double*>(nullptr));
  }
  std::string operator()(const std::optional<MemoryLimit>* /*field*/) const {
    return "a whole number of stage activations, or of bytes with their unit, such as \"40GiB\"";
  }
};

// The values as TOML, by the type of their field.
struct Written {
  std::string operator()(const std::string* field) const { return quoted(*field); }
  std::string operator()(const int* field) const { return fmt::format("{}", *field); }
  std::string operator()(const bool* field) const { return *field ? "true" : "false"; }
  std::string operator()(const double* field) const {
    CHECK(std::isfinite(*field));
    return toml_number(*field);
  }
  std::string operator()(const CostValue* field) const {
    std::string list;
    for (const double& value : field->values) {
      list += (list.empty() ? "" : ", ") + (*this)(&value);
    }
    return field->values.size() == 1 ? list : "[" + list + "]";
  }
  std::string operator()(const std::optional<CostValue>* field) const {
    return field->has_value() ? (*this)(&field->value()) : "";
  }
  std::string operator()(const std::optional<double>* field) const {
    return field->has_value() ? (*this)(&field->value()) : "";
  }
  std::string operator()(const std::optional<MemoryLimit>* field) const {
    if (!field->has_value()) {
      return "";
    }
    const MemoryLimit& limit = field->value();
    return limit.unit == MemoryLimit::Unit::bytes ? fmt::format("\"{}B\"", limit.amount)
                                                  : fmt::format("{}", limit.amount);
  }
};

}  // namespace

std::string ConfigKey::dotted() const {
  return fmt::format("{}.{}", table, name);
}

std::span<const ConfigKey> config_keys() {
  return keys;
}

std::string expectation(const ConfigKey& key) {
  Config config;
  return std::visit(Expectation{key}, key.field(config));
}

std::string toml_value(const ConfigKey& key, const Config& config) {
  Config values = config;  // a key gives access to change its field
  return std::visit(Written{}, key.field(values));
}

std::string toml_number(double value) {
  const std::string digits = fmt::format("{}", value);
  return digits.find_first_not_of("-0123456789") == std::string::npos ? digits + ".0" : digits;
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char letter : text) {
    const unsigned int code = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      result += {'\\', letter};
    } else if (code < 0x20 || code == 0x7f) {
      result += fmt::format("\\u{:04x}", code);
    } else {
      result += letter;
    }
  }
  return result + "\"";
}

std::string dump_config(const Config& config) {
  std::string text;
  std::string_view table;
  for (const ConfigKey& key : keys) {
    if (key.table != table) {
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", key.table);
      table = key.table;
    }
    const std::string value = toml_value(key, config);
    const std::string entry = fmt::format("{}{} = {}", value.empty() ? "# " : "", key.name, value);
    text += fmt::format("{:<28}  # {}\n", entry, key.meaning);
  }
  return text;
}

std::string describe_config() {
  std::string text;
  for (const ConfigKey& key : keys) {
    const std::string value = toml_value(key, Config{});
    text += fmt::format("{:<28}{}\n{:28}{}; default {}\n", key.dotted(), key.meaning, "",
                        expectation(key), value.empty() ? "none" : value);
  }
  return text;
}

}  // namespace dualpipe
