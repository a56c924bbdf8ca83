// Any bytes are either refused as a config, or a config that dumps and reads back as it was.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cli/config.h"
#include "costs/check.h"
#include "costs/error.h"

namespace {

bool loads(std::string_view text, dualpipe::Config& config) {
  try {
    config = dualpipe::parse_config(text, "input.toml", config);
    return true;
  } catch (const dualpipe::Error& error) {
    CHECK(error.code() == dualpipe::ExitCode::usage);
    CHECK(std::string_view(error.what()).starts_with("input.toml:"));
    return false;
  }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  dualpipe::Config config;
  if (loads(text, config)) {
    const std::string dump = dualpipe::dump_config(config);
    dualpipe::Config back;
    CHECK(loads(dump, back));
    CHECK(back.pipeline == config.pipeline);
    CHECK(dualpipe::dump_config(back) == dump);
  }
  return 0;
}
