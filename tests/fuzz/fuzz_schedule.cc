// Any bytes are either refused as a schedule, or a schedule that each form writes and reads back as
// it was, and that compile() judges on every kind of transport.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "costs/check.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"

namespace {

using dualpipe::Schedule;

std::optional<Schedule> parsed(const std::string& text) {
  try {
    return dualpipe::parse_schedule(text, "input");
  } catch (const dualpipe::Error& error) {
    CHECK(error.code() == dualpipe::ExitCode::invalid_schedule);
    return std::nullopt;
  }
}

bool is_valid(const Schedule& schedule) {
  bool valid = false;
  constexpr std::array<dualpipe::TransportSemantics, 3> transports{
      dualpipe::grouped_world, dualpipe::blocking_world, dualpipe::TransportSemantics{}};
  for (const dualpipe::TransportSemantics& semantics : transports) {
    const dualpipe::Compilation compilation = dualpipe::compile(schedule, semantics);
    valid = compilation.program.has_value();
    CHECK(valid == compilation.violations.empty());
  }
  return valid;  // on the last, which needs the least of a schedule
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::optional<Schedule> schedule = parsed(std::string(data, data + size));
  if (!schedule) {
    return 0;
  }
  CHECK(parsed(dualpipe::to_json(*schedule)) == schedule);
  CHECK(parsed(dualpipe::to_text(*schedule)) == schedule);
  const bool valid = is_valid(*schedule);
  // CSV leaves the placement to be inferred, which only a schedule with enough ops allows.
  const std::optional<Schedule> from_csv = parsed(dualpipe::to_csv(*schedule));
  CHECK(!from_csv || from_csv->ranks == schedule->ranks);
  CHECK(!valid || (from_csv && is_valid(*from_csv)));
  return 0;
}
