// Quantities as people read them: a time, a share or a size as text. Every figure, table and report
// writes them through here, so that a number looks the same wherever it stands. Integers and fixed
// decimals alone, independent of the locale: the same value gives the same bytes on any machine.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "costs/cost_model.h"

namespace dualpipe {

struct TimeUnit {
  std::string_view name;
  std::int64_t nanoseconds = 1;  // in one of it
};

// The largest of ns, us, ms and s of which `time` holds at least one; ns when it holds none.
[[nodiscard]] TimeUnit unit_of(Time time);

// "66.000" for 66 ms in ms: three decimals, rounded half away from zero; none for ns.
[[nodiscard]] std::string format_time_in(Time time, const TimeUnit& unit);

// "66.000 ms", in unit_of(time).
[[nodiscard]] std::string format_time(Time time);

// "9.1%" for 0.0909.
[[nodiscard]] std::string format_percent(double ratio);

// "512 B", "1.50 GiB": two decimals from KiB on.
[[nodiscard]] std::string format_bytes(std::int64_t bytes);

// "12.5" for 1250 hundredths (scale 100): no trailing zeros, no point without a decimal.
// Requires: scale is a power of ten.
[[nodiscard]] std::string format_scaled(std::int64_t value, std::int64_t scale);

}  // namespace dualpipe
