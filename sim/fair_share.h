// FairShare: messages as fluids in shared pipes. Each flow goes through one or two ports of
// capacity 1, a flow that is alone has rate 1, and rates are max-min fair: no flow could have more
// without taking from one that has no more than it (Bertsekas and Gallager, "Data Networks", 1992,
// section 6.5). They change when a flow comes or goes.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "costs/cost_model.h"

namespace dualpipe {

class FairShare {
 public:
  static constexpr std::int32_t none = -1;
  using Ports = std::array<std::int32_t, 2>;  // different ones; the second may be none

  explicit FairShare(int ports) : ports_(static_cast<std::size_t>(ports)) {}

  // A flow that takes `busy` alone, from now on; its number, which is free again once it is
  // removed. Rates and ends are only right after settle().
  [[nodiscard]] std::int32_t add(const Ports& ports, Time busy, Time now);
  void remove(std::int32_t flow);

  // Gives new rates to everything that shares, however indirectly, with what came or went since
  // the last call, and returns the flows whose end is new. Linear in these, for each of their
  // different rates. Requires: `now` is no earlier than in any call before, and no flow that is
  // still here has ended.
  [[nodiscard]] std::span<const std::int32_t> settle(Time now);

  // When the flow has passed if nothing comes or goes, rounded up to a whole nanosecond.
  [[nodiscard]] Time end(std::int32_t flow) const { return at(flow).end; }
  // Of the capacity of a port.
  [[nodiscard]] double rate(std::int32_t flow) const { return at(flow).rate; }

 private:
  struct Flow {
    Ports ports{none, none};
    double remaining = 0.0;  // ns at rate 1, at `since`
    double rate = 0.0;
    Time since{};
    Time end{};
    bool is_here = false;   // collected, by settle()
    bool is_fixed = false;  // its new rate is known
    double new_rate = 0.0;
  };
  struct Port {
    std::vector<std::int32_t> flows;
    double left = 0.0;  // of its capacity, while rates are found
    int unfixed = 0;
    bool is_changed = false;
    bool is_here = false;
  };

  [[nodiscard]] Flow& at(std::int32_t flow) { return flows_[static_cast<std::size_t>(flow)]; }
  [[nodiscard]] const Flow& at(std::int32_t flow) const {
    return flows_[static_cast<std::size_t>(flow)];
  }
  [[nodiscard]] Port& port(std::int32_t index) { return ports_[static_cast<std::size_t>(index)]; }
  void touch(std::int32_t index);
  void collect();
  void fill();
  void fix(std::int32_t flow, double share);
  void take_rates(Time now);

  std::vector<Flow> flows_;
  std::vector<std::int32_t> free_;  // numbers
  std::vector<Port> ports_;
  std::vector<std::int32_t> touched_;  // ports where a flow came or went
  // While settling: what is connected with those.
  std::vector<std::int32_t> ports_here_;
  std::vector<std::int32_t> flows_here_;
  std::vector<std::int32_t> changed_;
};

}  // namespace dualpipe
