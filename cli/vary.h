// What a sweep varies: config keys with the values that each takes, and the points of their
// cartesian product.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config_keys.h"

namespace dualpipe {

struct Axis {
  std::string name;  // as it was written: "ranks", "costs.p2p"
  const ConfigKey* key = nullptr;
  std::vector<std::string> values;  // as --set takes them
};

// "ranks=4,8,16", "microbatches=16:128:16" (from, to and including, step),
// "costs.p2p=0,0.1:0.3:0.1", "costs.forward=1,[1,1,1,2]". A key may be given without its table
// where no other has its name. Values are those that --set would take; ranges are for numbers, and
// exact: 0:0.3:0.1 is 0, 0.1, 0.2, 0.3. Throws Error (usage) naming the text and the key, what was
// expected and what to write.
[[nodiscard]] Axis parse_axis(const std::string& text);

// How many points the axes have: 1 for none. Throws Error (usage) beyond points_max.
inline constexpr std::size_t points_max = 10'000'000;
[[nodiscard]] std::size_t count_points(std::span<const Axis> axes);

// The value of every axis at one point. The last axis varies fastest.
// Requires: point < count_points(axes).
[[nodiscard]] std::vector<std::string_view> point_of(std::span<const Axis> axes, std::size_t point);

}  // namespace dualpipe
