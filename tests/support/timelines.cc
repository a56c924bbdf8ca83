#include "tests/support/timelines.h"

#include <cstddef>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

Span span_of(const std::string& text) {
  const std::size_t at = text.find('@');
  const std::size_t dash = text.find('-', at);
  return {.slot = parse_slot(std::string_view(text).substr(0, at)),
          .begin = Time(std::stoll(text.substr(at + 1, dash - at - 1))),
          .end = Time(std::stoll(text.substr(dash + 1)))};
}

std::string times_text(Time begin, Time end) {
  return "@" + std::to_string(begin.count()) + "-" + std::to_string(end.count());
}

}  // namespace

Pipeline pipeline_on(Placement placement, int microbatches) {
  const int directions = placement.directions();
  return {.name = "hand-made",
          .placement = std::move(placement),
          .direction = directions_of_microbatches(microbatches, directions)};
}

Timeline timeline_of(const Pipeline& pipeline, const std::vector<std::string_view>& ranks) {
  Timeline timeline{.pipeline = pipeline, .ranks = {}, .transfers = {}, .stage_bytes = {}};
  timeline.stage_bytes.resize(static_cast<std::size_t>(pipeline.stages()));
  for (const std::string_view rank : ranks) {
    std::vector<Span>& spans = timeline.ranks.emplace_back();
    std::istringstream words{std::string(rank)};
    for (std::string word; words >> word;) {
      spans.push_back(span_of(word));
    }
  }
  return timeline;
}

std::string spans_text(const Timeline& timeline, int rank) {
  std::string text;
  for (const Span& span : timeline.ranks[static_cast<std::size_t>(rank)]) {
    text += (text.empty() ? "" : " ") + to_string(span.slot) + times_text(span.begin, span.end);
  }
  return text;
}

std::string transfers_text(const Timeline& timeline) {
  std::string text;
  for (const Transfer& transfer : timeline.transfers) {
    text += text.empty() ? "" : "; ";
    text += transfer.value.kind == ValueKind::activation ? "activation " : "gradient ";
    text += std::to_string(transfer.value.stage) + " of " +
            std::to_string(transfer.value.microbatch) + ", " + std::to_string(transfer.source) +
            "->" + std::to_string(transfer.destination) + " " +
            times_text(transfer.begin, transfer.end);
  }
  return text;
}

}  // namespace dualpipe
