#include "tests/gpu_stand_in/cudart/emulated_kernels.h"

#include <array>
#include <cstddef>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "emulated_kernels.inc"
#include "tests/support/block_emulator.h"

namespace stand_in {
namespace {

template <typename Argument>
void note_pointer(const Argument& argument, std::vector<const void*>& pointers) {
  if constexpr (std::is_pointer_v<Argument>) {
    pointers.push_back(argument);
  }
}

template <typename... Parameters>
BoundKernel bind_to(void (*kernel)(Parameters...), void** arguments) {
  const auto copy = [&]<std::size_t... Position>(std::index_sequence<Position...>) {
    return std::tuple<Parameters...>{*static_cast<Parameters*>(arguments[Position])...};
  };
  const std::tuple<Parameters...> values = copy(std::index_sequence_for<Parameters...>{});
  BoundKernel bound;
  std::apply([&](const auto&... value) { (note_pointer(value, bound.pointers), ...); }, values);
  bound.run = [kernel, values](const LaunchShape& shape) {
    const auto extent = [](const std::array<unsigned, 3>& sizes) {
      return dualpipe::Extent{.x = sizes[0], .y = sizes[1], .z = sizes[2]};
    };
    dualpipe::run_blocks({.grid = extent(shape.grid), .block = extent(shape.block)},
                         [&] { std::apply(kernel, values); });
  };
  return bound;
}

template <auto Kernel>
BoundKernel bind(void** arguments) {
  return bind_to(Kernel, arguments);
}

}  // namespace

std::span<const EmulatedKernel> emulated_kernels() {
#define EMULATED_KERNEL(kernel) EmulatedKernel{.name = #kernel, .bind = bind<kernel>},
  static constexpr std::array kernels{EMULATED_KERNELS};
#undef EMULATED_KERNEL
  return kernels;
}

}  // namespace stand_in
