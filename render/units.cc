#include "render/units.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/cost_model.h"

namespace dualpipe {
namespace {

constexpr std::array<TimeUnit, 4> units{
    {{"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}, {"ns", 1}}};

// Sign and magnitude apart, because integer division loses the sign of what is below one. Unsigned,
// because the least integer has no positive counterpart.
struct Signed {
  std::string_view sign;
  std::uint64_t magnitude = 0;

  explicit Signed(std::int64_t value)
      : sign(value < 0 ? "-" : ""),
        magnitude(value < 0 ? 0 - static_cast<std::uint64_t>(value)
                            : static_cast<std::uint64_t>(value)) {}
};

}  // namespace

TimeUnit unit_of(Time time) {
  const std::uint64_t magnitude = Signed(time.count()).magnitude;
  for (const TimeUnit& unit : units) {
    if (magnitude >= static_cast<std::uint64_t>(unit.nanoseconds)) {
      return unit;
    }
  }
  return units.back();
}

std::string format_time_in(Time time, const TimeUnit& unit) {
  if (unit.nanoseconds == 1) {
    return fmt::format("{}", time.count());
  }
  const Signed value(time.count());
  const std::uint64_t thousandth = static_cast<std::uint64_t>(unit.nanoseconds) / 1000;
  const std::uint64_t thousandths = (value.magnitude + thousandth / 2) / thousandth;
  return fmt::format("{}{}.{:03}", thousandths == 0 ? "" : value.sign, thousandths / 1000,
                     thousandths % 1000);
}

std::string format_time(Time time) {
  const TimeUnit unit = unit_of(time);
  return fmt::format("{} {}", format_time_in(time, unit), unit.name);
}

std::string format_percent(double ratio) {
  return fmt::format("{:.1f}%", ratio * 100.0);
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::array<std::string_view, 7> names{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  const Signed value(bytes);
  std::uint64_t one = 1;
  std::size_t name = 0;
  while (name + 1 < names.size() && value.magnitude / one >= 1024) {
    one *= 1024;
    ++name;
  }
  if (name == 0) {
    return fmt::format("{} B", bytes);
  }
  // Whole units first: a hundred times all the bytes of an exbibyte would overflow.
  const std::uint64_t rest = value.magnitude % one;
  const double hundredths = static_cast<double>(rest) / static_cast<double>(one) * 100.0;
  const std::uint64_t total =
      value.magnitude / one * 100 + static_cast<std::uint64_t>(std::lround(hundredths));
  return fmt::format("{}{}.{:02} {}", value.sign, total / 100, total % 100, names[name]);
}

std::string format_scaled(std::int64_t value, std::int64_t scale) {
  CHECK(scale > 0);
  const Signed number(value);
  const std::uint64_t one = static_cast<std::uint64_t>(scale);
  std::string text = fmt::format("{}{}", number.sign, number.magnitude / one);
  std::uint64_t rest = number.magnitude % one;
  if (rest != 0) {
    text += '.';
  }
  while (rest != 0) {
    rest *= 10;
    text += static_cast<char>('0' + rest / one);
    rest %= one;
  }
  return text;
}

}  // namespace dualpipe
