// What a section takes from configs/.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/subject.h"

namespace dualpipe {

[[nodiscard]] inline SubjectOptions subject_of(std::vector<std::string> paths,
                                               std::vector<std::string> sets = {}) {
  SubjectOptions options;
  options.config_paths = std::move(paths);
  options.sets = std::move(sets);
  return options;
}

}  // namespace dualpipe
