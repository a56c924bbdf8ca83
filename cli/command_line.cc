#include "cli/command_line.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/config.h"
#include "cli/program_main.h"
#include "cli/subject.h"
#include "costs/error.h"
#include "scheduler/file.h"

namespace dualpipe {

void add_config_options(CLI::App& command, SubjectOptions& options) {
  command.add_option("-p,--ranks", options.ranks, "number of ranks");
  command.add_option("-m,--microbatches", options.microbatches, "microbatches per step");
  command.add_option("--chunks", options.chunks, "stages per rank, where the schedule lets choose");
  command
      .add_option("--memory-limit", options.memory_limit,
                  "most that a rank may keep alive: a number of stage activations, or 40GiB")
      ->type_name("LIMIT");
  command.add_flag("--forward-only", options.forward_only,
                   "inference: the schedule's forwards, without its backwards");
  command
      .add_option(
          "--config", options.config_paths,
          "TOML file, as --dump-config prints one, or the config.json of a model on Hugging "
          "Face; given again, the later file's keys win")
      ->type_name("FILE")
      ->take_all()
      ->allow_extra_args(false);
  command.add_option("--set", options.sets, "one config value, as in --set costs.p2p=0.1")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  command.add_flag("--dump-config", options.dump_config, "print the resolved config and exit");
  command.add_flag("--describe-config", options.describe_config,
                   "print every config key with what it means and accepts, and exit");
}

bool print_config(const SubjectOptions& options) {
  if (options.dump_config) {
    write_file("-", dump_config(resolve_config(options)));
  } else if (options.describe_config) {
    write_file("-", describe_config());
  }
  return options.dump_config || options.describe_config;
}

void add_format(CLI::App& command, std::string& format, const std::vector<std::string>& formats) {
  command.add_option("--format", format, "output format")
      ->check(CLI::IsMember(formats))
      ->capture_default_str();
}

void add_colour(CLI::App& program, ColourChoice& colour) {
  const std::map<std::string, ColourChoice> choices{{"auto", ColourChoice::automatic},
                                                    {"always", ColourChoice::always},
                                                    {"never", ColourChoice::never}};
  program
      .add_option("--color", colour, "colours: auto (default; NO_COLOR is obeyed), always, never")
      ->transform(CLI::CheckedTransformer(choices, CLI::ignore_case).description(""))
      ->type_name("WHEN");
}

int parse_and_run(CLI::App& program, int argc, const char* const* argv,
                  const std::function<int()>& body) {
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return program.exit(success);
  } catch (const CLI::ParseError& error) {
    static_cast<void>(program.exit(error));
    return static_cast<int>(ExitCode::usage);
  }
  return body();
}

}  // namespace dualpipe
