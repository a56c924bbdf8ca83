// Any bytes are either refused as a schedule, or a schedule that each form writes and reads back as
// it was, and that compile() judges on every kind of transport; the same bytes are also read as a
// lowered file.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "costs/check.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/lowered.h"
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

// What judging a lowered file may rely on, whatever is in it.
void check_lowered(const std::string& text) {
  std::optional<dualpipe::LoweredSchedule> lowered;
  try {
    lowered = dualpipe::parse_lowered(text, "input");
  } catch (const dualpipe::Error& error) {
    CHECK(error.code() == dualpipe::ExitCode::invalid_schedule);
    return;
  }
  for (const dualpipe::Topology topology : {dualpipe::Topology::edge, dualpipe::Topology::world}) {
    const dualpipe::Compilation compilation = dualpipe::compile(*lowered, topology, 0);
    CHECK(compilation.program.has_value() == compilation.violations.empty());
    CHECK(!compilation.program || compilation.program->schedule() == lowered->schedule);
    // What one more message of buffering does is never worse, and what is said to be enough is.
    if (compilation.smallest_buffering) {
      const int enough = *compilation.smallest_buffering;
      CHECK(enough > 0);
      CHECK(dualpipe::compile(*lowered, topology, enough).cycle.empty());
      CHECK(!dualpipe::compile(*lowered, topology, enough - 1).cycle.empty());
    }
  }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  check_lowered(text);
  const std::optional<Schedule> schedule = parsed(text);
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
