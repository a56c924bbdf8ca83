// The kernels of the project, compiled for the host from the very source that nvcc compiles for a
// GPU, to be launched by name.

#pragma once

#include <array>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace stand_in {

struct LaunchShape {
  std::array<unsigned, 3> grid{1, 1, 1};
  std::array<unsigned, 3> block{1, 1, 1};
};

// A kernel with the arguments of one launch, which are copies.
struct BoundKernel {
  std::function<void(const LaunchShape&)> run;
  std::vector<const void*> pointers;  // those among the arguments
};

struct EmulatedKernel {
  std::string_view name;
  // `arguments`: the addresses of as many values, of the types, as the kernel takes.
  BoundKernel (*bind)(void** arguments);
};

[[nodiscard]] std::span<const EmulatedKernel> emulated_kernels();

}  // namespace stand_in
