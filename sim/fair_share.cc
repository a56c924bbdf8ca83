#include "sim/fair_share.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"

namespace dualpipe {

void FairShare::touch(std::int32_t index) {
  if (index != none && !port(index).is_changed) {
    port(index).is_changed = true;
    touched_.push_back(index);
  }
}

std::int32_t FairShare::add(const Ports& ports, Time busy, Time now) {
  CHECK(ports[0] != none && ports[0] != ports[1] && busy > Time{});
  if (free_.empty()) {
    free_.push_back(static_cast<std::int32_t>(flows_.size()));
    flows_.emplace_back();
  }
  const std::int32_t flow = free_.back();
  free_.pop_back();
  at(flow) = {.ports = ports, .remaining = static_cast<double>(busy.count()), .since = now};
  for (const std::int32_t index : ports) {
    if (index != none) {
      port(index).flows.push_back(flow);
    }
    touch(index);
  }
  return flow;
}

void FairShare::remove(std::int32_t flow) {
  for (const std::int32_t index : at(flow).ports) {
    if (index != none) {
      std::erase(port(index).flows, flow);
    }
    touch(index);
  }
  free_.push_back(flow);
}

std::span<const std::int32_t> FairShare::settle(Time now) {
  changed_.clear();
  if (!touched_.empty()) {
    collect();
    fill();
    take_rates(now);
  }
  return changed_;
}

// The ports where something changed, the flows through them, the ports of those, and so on.
void FairShare::collect() {
  flows_here_.clear();
  ports_here_.clear();
  const auto visit = [&](std::int32_t index) {
    if (index != none && !port(index).is_here) {
      port(index).is_here = true;
      ports_here_.push_back(index);
    }
  };
  for (const std::int32_t index : touched_) {
    port(index).is_changed = false;
    visit(index);
  }
  touched_.clear();
  for (std::size_t next = 0; next < ports_here_.size(); ++next) {
    Port& reached = port(ports_here_[next]);
    reached.left = 1.0;
    reached.unfixed = static_cast<int>(reached.flows.size());
    reached.is_here = true;
    for (const std::int32_t flow : reached.flows) {
      if (!at(flow).is_here) {
        at(flow).is_here = true;
        at(flow).is_fixed = false;
        flows_here_.push_back(flow);
        visit(at(flow).ports[0]);
        visit(at(flow).ports[1]);
      }
    }
  }
}

// Progressive filling: all rates grow together until a port is full, whose flows keep what they
// have; the others go on.
void FairShare::fill() {
  constexpr double rounding = 1.0 + 1e-12;
  for (;;) {
    double least = 2.0;
    for (const std::int32_t index : ports_here_) {
      const Port& of = port(index);
      if (of.unfixed > 0) {
        least = std::min(least, of.left / of.unfixed);
      }
    }
    if (least > 1.0 * rounding) {
      return;
    }
    for (const std::int32_t index : ports_here_) {
      const Port& full = port(index);
      if (full.unfixed > 0 && full.left / full.unfixed <= least * rounding) {
        for (const std::int32_t flow : full.flows) {
          fix(flow, least);
        }
      }
    }
  }
}

void FairShare::fix(std::int32_t flow, double share) {
  if (at(flow).is_fixed) {
    return;
  }
  at(flow).is_fixed = true;
  at(flow).new_rate = share;
  for (const std::int32_t index : at(flow).ports) {
    if (index != none) {
      port(index).left -= share;
      --port(index).unfixed;
    }
  }
}

void FairShare::take_rates(Time now) {
  constexpr double too_little = 1e-6;  // ns: what rounding leaves over is no nanosecond more
  for (const std::int32_t index : ports_here_) {
    port(index).is_here = false;
  }
  for (const std::int32_t number : flows_here_) {
    Flow& flow = at(number);
    flow.is_here = false;
    if (flow.new_rate == flow.rate) {
      continue;
    }
    const double passed = flow.rate * static_cast<double>((now - flow.since).count());
    flow.remaining = std::max(0.0, flow.remaining - passed);
    flow.since = now;
    flow.rate = flow.new_rate;
    const Time end =
        now + Time(static_cast<std::int64_t>(std::ceil(flow.remaining / flow.rate - too_little)));
    if (end != flow.end) {
      flow.end = end;
      changed_.push_back(number);
    }
  }
}

}  // namespace dualpipe
