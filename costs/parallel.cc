#include "costs/parallel.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "costs/config_check.h"
#include "costs/model.h"

namespace dualpipe {
namespace {

constexpr std::string_view recompute_remedy =
    "write one of \"none\", \"selective\", \"full\" for all layers, or for each in turn as "
    "\"full*8,none*24\"";

// "full*8": a word and how often.
struct Repeated {
  Recompute recompute = Recompute::none;
  int count = 1;
};

[[noreturn]] void refuse_recompute(std::string_view found, int layers) {
  ConfigCheck("parallel")
      .refuse("recompute", {.expected = fmt::format("words for {} layers", layers),
                            .found = fmt::format("\"{}\"", found),
                            .remedy = std::string(recompute_remedy)});
}

Repeated parse_repeated(std::string_view text, int layers) {
  const std::size_t star = std::min(text.find('*'), text.size());
  const std::string_view word = text.substr(0, star);
  const auto found = std::ranges::find(recompute_words, word);
  if (found == recompute_words.end()) {
    refuse_recompute(text, layers);
  }
  Repeated repeated{.recompute = static_cast<Recompute>(found - recompute_words.begin())};
  if (star < text.size()) {
    const std::string_view digits = text.substr(star + 1);
    const char* const begin = digits.data();
    const char* const end = begin + digits.size();
    const auto [rest, error] = std::from_chars(begin, end, repeated.count);
    if (error != std::errc() || rest != end || repeated.count < 1 || repeated.count > layers) {
      refuse_recompute(text, layers);
    }
  }
  return repeated;
}

void require_divides(std::string_view key, int slices, std::string_view what, int size) {
  if (size % slices != 0) {
    ConfigCheck("parallel")
        .refuse(key, {.expected = fmt::format("a divisor of {}, {}", what, size),
                      .found = fmt::format("{}", slices),
                      .remedy = fmt::format("set parallel.{} to one", key)});
  }
}

}  // namespace

double value_bytes(std::string_view number_type) {
  constexpr double scale_bytes = 4.0;
  constexpr double values_per_scale = 128.0;
  return number_type == "fp8" ? 1.0 + scale_bytes / values_per_scale : 2.0;
}

std::vector<Recompute> recompute_of_layers(const ParallelConfig& parallel, int layers) {
  std::vector<Recompute> result;
  std::string_view rest = parallel.recompute;
  const bool is_for_all = rest.find_first_of(",*") == std::string_view::npos;
  while (true) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const Repeated repeated = parse_repeated(rest.substr(0, comma), layers);
    const int count = is_for_all ? layers : repeated.count;
    result.insert(result.end(), static_cast<std::size_t>(count), repeated.recompute);
    if (comma == rest.size() || result.size() > static_cast<std::size_t>(layers)) {
      break;
    }
    rest.remove_prefix(comma + 1);
  }
  if (result.size() != static_cast<std::size_t>(layers)) {
    refuse_recompute(parallel.recompute, layers);
  }
  return result;
}

void require_parallel(const ParallelConfig& parallel, const ModelConfig& model) {
  const ConfigCheck check("parallel");
  using Ranges = ParallelRanges;
  check.whole("sequence", parallel.sequence, Ranges::sequence);
  check.whole("microbatch_size", parallel.microbatch_size, Ranges::microbatch_size);
  check.whole("tensor", parallel.tensor, Ranges::tensor);
  check.whole("context", parallel.context, Ranges::context);
  check.whole("expert", parallel.expert, Ranges::expert);
  check.whole("data", parallel.data, Ranges::data);
  check.whole("expert_nodes", parallel.expert_nodes, Ranges::expert_nodes);
  check.number("expert_imbalance", parallel.expert_imbalance, Ranges::expert_imbalance);
  check.word("dispatch_type", parallel.dispatch_type, number_types);
  check.word("activation_type", parallel.activation_type, number_types);
  check.word("optimizer_sharding", parallel.optimizer_sharding, optimizer_shardings);
  check.number("weight_bytes", parallel.weight_bytes, Ranges::bytes);
  check.number("gradient_bytes", parallel.gradient_bytes, Ranges::bytes);
  check.number("optimizer_bytes", parallel.optimizer_bytes, Ranges::bytes);
  require_divides("context", parallel.context, "parallel.sequence", parallel.sequence);
  require_divides("tensor", parallel.tensor, "model.heads", model.heads);
  require_divides("tensor", parallel.tensor, "model.hidden", model.hidden);
  if (model.experts == 0 && parallel.expert != 1) {
    check.refuse("expert", {.expected = "1 in a model without experts",
                            .found = fmt::format("{}", parallel.expert),
                            .remedy = "leave it out"});
  }
  require_divides("expert", parallel.expert, "parallel.context * parallel.data",
                  parallel.context * parallel.data);
  if (model.experts > 0) {
    require_divides("expert", parallel.expert, "model.experts", model.experts);
  }
  static_cast<void>(recompute_of_layers(parallel, model.layers));
}

}  // namespace dualpipe
