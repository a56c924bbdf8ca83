// dualpipe-sim generate: a schedule, written in one of its forms.

#include <filesystem>
#include <string>

#include "cli/commands.h"
#include "cli/subject.h"
#include "costs/error.h"
#include "scheduler/file.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"

namespace dualpipe {
namespace {

std::string format_of(const GenerateOptions& options) {
  if (!options.format.empty()) {
    return options.format;
  }
  const std::string extension = std::filesystem::path(options.output).extension();
  if (extension == ".csv") {
    return "csv";
  }
  return extension == ".txt" ? "text" : "json";
}

std::string written(const Schedule& schedule, const std::string& format) {
  if (format == "csv") {
    return to_csv(schedule);
  }
  return format == "text" ? to_text(schedule) : to_json(schedule);
}

}  // namespace

ExitCode run_generate(const GenerateOptions& options) {
  const Subject subject = load_subject(options.subject, resolve_config(options.subject));
  write_file(options.output, written(subject.schedule, format_of(options)));
  return ExitCode::ok;
}

}  // namespace dualpipe
