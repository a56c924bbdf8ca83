// Timelines of the tests, as text: "0F0@0-10 0B0@25-45" is one rank's spans, in nanoseconds.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scheduler/pipeline.h"
#include "trace/timeline.h"

namespace dualpipe {

// Microbatches of one direction, or half of them each way.
[[nodiscard]] Pipeline pipeline_on(Placement placement, int microbatches);

// One text of spans per rank. Every stage's bytes are zero.
[[nodiscard]] Timeline timeline_of(const Pipeline& pipeline,
                                   const std::vector<std::string_view>& ranks);

[[nodiscard]] std::string spans_text(const Timeline& timeline, int rank);

// "activation 2 of 5, 0->1 @3-4" for every transfer, "; " between them: stage 2, microbatch 5.
[[nodiscard]] std::string transfers_text(const Timeline& timeline);

}  // namespace dualpipe
