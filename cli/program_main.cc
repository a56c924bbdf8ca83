#include "cli/program_main.h"

#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>

#include <spdlog/common.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "costs/error.h"

namespace dualpipe {
namespace {

bool use_colour(ColourChoice colour, int stream) {
  if (colour != ColourChoice::automatic) {
    return colour == ColourChoice::always;
  }
  const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org
  return (no_color == nullptr || *no_color == '\0') && ::isatty(stream) != 0;
}

}  // namespace

void set_up_logging(ColourChoice colour) {
  const spdlog::color_mode mode =
      use_colour(colour, STDERR_FILENO) ? spdlog::color_mode::always : spdlog::color_mode::never;
  const auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode);
  const auto logger = std::make_shared<spdlog::logger>("", sink);
  logger->set_pattern("%^%l%$: %v");
  spdlog::set_default_logger(logger);
}

bool colour_on_stdout(ColourChoice colour) {
  return use_colour(colour, STDOUT_FILENO);
}

int exit_code_of(const std::function<ExitCode()>& body) {
  try {
    return static_cast<int>(body());
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    spdlog::error("internal error, please report it: {}", error.what());
    return static_cast<int>(ExitCode::internal_error);
  }
}

}  // namespace dualpipe
