#include "runtime/models/model.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/models/gpt.h"
#include "runtime/models/mlp.h"
#include "runtime/models/spin.h"

namespace dualpipe {

std::span<const Model> models() {
  static constexpr std::array<Model, 3> table{{
      {.name = "gpt",
       .summary = "decoder-only transformer over the bytes of a text, AdamW",
       .make = make_gpt},
      {.name = "mlp",
       .summary = "linear layers with GELU that learn a fixed random function, AdamW",
       .make = make_mlp},
      {.name = "spin",
       .summary = "sleeps for the modelled time of every op, without using the processor",
       .make = make_spin},
  }};
  return table;
}

const Model& find_model(std::string_view name) {
  const std::span<const Model> table = models();
  const auto found = std::ranges::find(table, name, &Model::name);
  if (found != table.end()) {
    return *found;
  }
  std::vector<std::string_view> names;
  for (const Model& model : table) {
    names.push_back(model.name);
  }
  throw Error(ExitCode::usage,
              fmt::format("model: expected one of {}; found '{}'{}", fmt::join(names, ", "), name,
                          did_you_mean(name, names)));
}

}  // namespace dualpipe
