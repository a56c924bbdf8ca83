#include "runtime/models/stage_state.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/models/adamw.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
namespace {

constexpr std::chrono::minutes limit{1};

// One behind another in the state, after the number of steps.
std::array<std::span<float>, 3> parts_of(Parameters& parameters, const AdamW& optimizer) {
  return {parameters.values(), optimizer.first_moment(), optimizer.second_moment()};
}

std::array<std::span<const float>, 3> parts_of(const Parameters& parameters,
                                               const AdamW& optimizer) {
  return {parameters.values(), optimizer.first_moment(), optimizer.second_moment()};
}

void finish(Device& device) {
  if (!device.finish(std::chrono::steady_clock::now() + limit)) {
    throw Error(ExitCode::timeout,
                fmt::format("the device has not done its work within {} s", limit.count() * 60));
  }
}

}  // namespace

std::vector<std::byte> save_state(Device& device, const Parameters& parameters,
                                  const AdamW& optimizer) {
  const std::uint64_t steps = optimizer.steps();
  const std::size_t size = parameters.values().size_bytes();
  const DeviceMemory host(device, 3 * size, MemoryHome::host);
  std::size_t offset = 0;
  for (const std::span<const float> part : parts_of(parameters, optimizer)) {
    device.copy(std::as_bytes(part), host.bytes().subspan(offset, size));
    offset += size;
  }
  finish(device);
  std::vector<std::byte> state(sizeof(steps) + host.bytes().size());
  std::memcpy(state.data(), &steps, sizeof(steps));
  if (!host.bytes().empty()) {
    std::memcpy(state.data() + sizeof(steps), host.bytes().data(), host.bytes().size());
  }
  return state;
}

void restore_state(Device& device, std::span<const std::byte> state, Parameters& parameters,
                   AdamW& optimizer) {
  std::uint64_t steps = 0;
  const std::size_t size = parameters.values().size_bytes();
  if (state.size() != sizeof(steps) + 3 * size) {
    throw Error(ExitCode::input_output,
                fmt::format("the checkpoint has {} bytes for a stage that takes {}; use the model "
                            "sizes that it was written with",
                            state.size(), sizeof(steps) + 3 * size));
  }
  std::memcpy(&steps, state.data(), sizeof(steps));
  optimizer.set_steps(steps);
  const DeviceMemory host(device, 3 * size, MemoryHome::host);
  if (size > 0) {
    std::memcpy(host.bytes().data(), state.data() + sizeof(steps), 3 * size);
  }
  std::size_t offset = 0;
  for (const std::span<float> part : parts_of(parameters, optimizer)) {
    device.copy(host.bytes().subspan(offset, size), std::as_writable_bytes(part));
    offset += size;
  }
  finish(device);
}

}  // namespace dualpipe
