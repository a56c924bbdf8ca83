// Declaring options with CLI11, the same way in both programs.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/program_main.h"
#include "cli/subject.h"

namespace dualpipe {

// --config, --set, --dump-config and the shape options.
void add_config_options(CLI::App& command, SubjectOptions& options);

// Prints the resolved config, or what its keys mean, where one of the two was asked for, and says
// whether it was. Throws what resolve_config() throws.
[[nodiscard]] bool print_config(const SubjectOptions& options);

// --format, one of `formats`, of which the first is the default.
void add_format(CLI::App& command, std::string& format, const std::vector<std::string>& formats);

// --color auto|always|never.
void add_colour(CLI::App& program, ColourChoice& colour);

// Parses; prints help or a usage error and returns its exit code instead of calling `body`.
[[nodiscard]] int parse_and_run(CLI::App& program, int argc, const char* const* argv,
                                const std::function<int()>& body);

}  // namespace dualpipe
