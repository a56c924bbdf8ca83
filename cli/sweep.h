// A sweep: the cartesian product of config values, one CSV row for each. Rows depend on the command
// line alone, never on who works them out or when.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cli/subject.h"
#include "cli/vary.h"

namespace dualpipe {

struct Sweep {
  SubjectOptions subject;  // what all points share
  std::vector<Axis> axes;  // the first varies slowest
  std::size_t points = 1;

  // The names of the axes, then step_time,longest_rank_time,bubble_ratio,peak_activations,
  // peak_bytes,error; and a newline.
  [[nodiscard]] std::string header() const;

  // The columns of the axes, each with a comma after it.
  [[nodiscard]] std::string keys(std::size_t point) const;

  // One row with its newline: integers are nanoseconds or bytes, the peaks the largest over the
  // ranks. A point that is refused has no figures, and the reason, on one line, as its error.
  // Safe from several threads. Requires: point < points.
  [[nodiscard]] std::string row(std::size_t point) const;
};

// `schedules` are an axis of their own, before all that `varied` texts say (see parse_axis()).
// Throws Error (usage): a bad axis, a key twice, no axis, too many points, a schedule that is
// neither a family nor a file's name.
[[nodiscard]] Sweep make_sweep(const SubjectOptions& subject,
                               const std::vector<std::string>& schedules,
                               const std::vector<std::string>& varied);

// How many rows of the sweep `text` holds, whole ones from the first; a last line that was cut off
// is none. `bytes` is set to the length of what is to be kept. Throws Error (usage) naming `path`
// and the line where the text is not what this sweep writes: its header and keys, and, to tell
// other costs or another version, all of its last row.
[[nodiscard]] std::size_t count_rows(const Sweep& sweep, std::string_view text,
                                     const std::string& path, std::size_t& bytes);

}  // namespace dualpipe
