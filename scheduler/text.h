// The three written forms of a schedule: JSON (everything), text (everything, for people and tests)
// and CSV (the op lists alone, which PyTorch reads too). docs/formats.md describes them. Every form
// is written and read back exactly; which one a file is in is told by its content.

#pragma once

#include <string>
#include <string_view>

#include "scheduler/schedule.h"

namespace dualpipe {

[[nodiscard]] std::string to_json(const Schedule& schedule);
[[nodiscard]] std::string to_csv(const Schedule& schedule);
[[nodiscard]] std::string to_text(const Schedule& schedule);

// The content of a file that is to be a schedule or a timeline. Of a long file that cannot be one,
// only the beginning is read. Throws Error: input_output, or invalid_schedule with line and column.
[[nodiscard]] std::string read_document(const std::string& path);

// Reads any of the three forms. `origin` names the file in messages. A CSV file, and text without
// headers, say neither name nor placement: the name is `origin` without folder and extension, and
// the placement is the one its ops show (see infer_pipeline).
// Throws Error (invalid_schedule) with origin, line and column. Whether the schedule makes sense is
// for compile() to say.
[[nodiscard]] Schedule parse_schedule(std::string_view text, const std::string& origin);

}  // namespace dualpipe
