#include "tests/support/fair_rates.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <vector>

namespace dualpipe {
namespace {

constexpr double slack = 1e-11;

bool is_feasible(const std::vector<std::vector<int>>& ports_of_flow,
                 const std::vector<double>& rates) {
  std::map<int, double> load;
  for (std::size_t flow = 0; flow < rates.size(); ++flow) {
    for (const int port : ports_of_flow[flow]) {
      load[port] += rates[flow];
    }
  }
  return std::all_of(load.begin(), load.end(),
                     [](const auto& port) { return port.second <= 1.0 + slack; });
}

}  // namespace

std::vector<double> fair_rates(const std::vector<std::vector<int>>& ports_of_flow) {
  std::vector<double> rates(ports_of_flow.size(), 0.0);
  std::vector<bool> can_grow(rates.size(), true);
  const auto raised = [&](double level) {
    std::vector<double> with = rates;
    for (std::size_t flow = 0; flow < with.size(); ++flow) {
      with[flow] = can_grow[flow] ? level : with[flow];
    }
    return with;
  };
  while (std::find(can_grow.begin(), can_grow.end(), true) != can_grow.end()) {
    double low = 0.0;
    double high = 2.0;
    for (int halving = 0; halving < 60; ++halving) {
      const double middle = (low + high) / 2.0;
      (is_feasible(ports_of_flow, raised(middle)) ? low : high) = middle;
    }
    rates = raised(low);
    for (std::size_t flow = 0; flow < rates.size(); ++flow) {
      std::vector<double> more = rates;
      more[flow] += 1e-6;
      can_grow[flow] = can_grow[flow] && is_feasible(ports_of_flow, more);
    }
  }
  return rates;
}

}  // namespace dualpipe
