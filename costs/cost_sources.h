// Where derived costs came from, in words, for people who want to check them.

#pragma once

#include <string>
#include <vector>

#include "costs/derive.h"

namespace dualpipe {

// A number of a cost model, and the formula it came from with what went into it: the efficiency
// that was used, and whether that was one number or a curve.
struct CostSource {
  static constexpr int all_stages = -1;

  int stage = all_stages;
  std::string quantity{};  // "forward", "p2p", ...
  double value = 0.0;
  std::string unit{};  // "ms", "MB", "1e9", or "" for a count
  std::string source{};

  bool operator==(const CostSource&) const = default;
};

// What holds for all stages first, then stage by stage; the same quantities for each.
[[nodiscard]] std::vector<CostSource> cost_sources(const DerivedCosts& derived);

}  // namespace dualpipe
