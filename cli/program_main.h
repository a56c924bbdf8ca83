// What the main functions of both programs have in common: logging, colours, and the one place
// where errors are caught and become exit codes.

#pragma once

#include <functional>
#include <string>

#include "costs/error.h"

namespace dualpipe {

enum class ColourChoice { automatic, always, never };

// Logs go to stderr as "error: ...", coloured on a terminal. Called once, first.
void set_up_logging(ColourChoice colour);

// Whether stdout should be coloured: as chosen; automatically on a terminal unless NO_COLOR is set.
[[nodiscard]] bool colour_on_stdout(ColourChoice colour);

// Runs `body` and returns the process's exit code. An Error is logged and gives its code; any other
// exception is a bug and gives ExitCode::internal_error.
[[nodiscard]] int exit_code_of(const std::function<ExitCode()>& body);

}  // namespace dualpipe
