#include "runtime/models/stage_state.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/models/adamw.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

std::vector<std::byte> save_state(const Parameters& parameters, const AdamW& optimizer) {
  const std::uint64_t steps = optimizer.steps();
  std::vector<std::byte> state;
  const auto append = [&](std::span<const std::byte> bytes) {
    state.insert(state.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(&steps, 1)));
  append(std::as_bytes(parameters.values()));
  append(std::as_bytes(optimizer.first_moment()));
  append(std::as_bytes(optimizer.second_moment()));
  return state;
}

void restore_state(std::span<const std::byte> state, Parameters& parameters, AdamW& optimizer) {
  const std::size_t expected = sizeof(std::uint64_t) + 3 * parameters.values().size_bytes();
  if (state.size() != expected) {
    throw Error(ExitCode::input_output,
                fmt::format("the checkpoint has {} bytes for a stage that takes {}; use the model "
                            "sizes that it was written with",
                            state.size(), expected));
  }
  const auto take = [&](std::span<std::byte> to) {
    if (!to.empty()) {
      std::memcpy(to.data(), state.data(), to.size());
    }
    state = state.subspan(to.size());
  };
  std::uint64_t steps = 0;
  take(std::as_writable_bytes(std::span(&steps, 1)));
  take(std::as_writable_bytes(parameters.values()));
  take(std::as_writable_bytes(optimizer.first_moment()));
  take(std::as_writable_bytes(optimizer.second_moment()));
  optimizer.set_steps(steps);
}

}  // namespace dualpipe
