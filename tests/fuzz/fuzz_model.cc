// Any bytes are either refused as a config.json, or a model whose parameters and FLOP can be
// counted.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "costs/check.h"
#include "costs/error.h"
#include "costs/huggingface.h"
#include "costs/model.h"
#include "costs/transformer.h"

namespace {

void require_countable(const dualpipe::ModelConfig& model) {
  CHECK(model.layers > 0);
  CHECK(dualpipe::complete_model(model) == model);
  const dualpipe::TransformerTotals totals = dualpipe::transformer_totals(model, 4096);
  CHECK(std::isfinite(totals.parameters) && totals.parameters > 0.0);
  CHECK(totals.active_parameters > 0.0 && totals.active_parameters <= totals.parameters);
  CHECK(std::isfinite(totals.model_flops()) && totals.model_flops() > 0.0);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  try {
    require_countable(dualpipe::parse_huggingface(text, "config.json"));
  } catch (const dualpipe::Error& error) {
    CHECK(error.code() == dualpipe::ExitCode::usage);
    CHECK(std::string_view(error.what()).starts_with("config.json: "));
  }
  return 0;
}
