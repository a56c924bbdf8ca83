#include "render/part.h"

#include <cmath>
#include <cstddef>
#include <set>
#include <string_view>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Mean {
  double sum = 0.0;
  double count = 0.0;

  void add(Time duration) {
    sum += static_cast<double>(duration.count());
    count += 1.0;
  }
  [[nodiscard]] double value() const { return count > 0.0 ? sum / count : 0.0; }
};

// Durations of the ops of one stage outside pairs.
struct Durations {
  Mean forward;
  Mean backward;
  Mean backward_input;
  Mean backward_weight;

  [[nodiscard]] Mean& of(OpKind kind) {
    switch (kind) {
      case OpKind::forward:
        return forward;
      case OpKind::backward:
        return backward;
      case OpKind::backward_input:
        return backward_input;
      case OpKind::backward_weight:
        return backward_weight;
    }
    CHECK(false);
  }

  // Of the whole backward, or of its two halves where it never runs whole.
  [[nodiscard]] double whole_backward() const {
    if (backward.count > 0.0) {
      return backward.value();
    }
    const bool both = backward_input.count > 0.0 && backward_weight.count > 0.0;
    return both ? backward_input.value() + backward_weight.value() : 0.0;
  }
};

std::vector<Durations> durations_of(const Timeline& timeline) {
  std::vector<Durations> durations(static_cast<std::size_t>(timeline.pipeline.stages()));
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      if (!span.slot.is_pair()) {
        const Op& op = span.slot.front();
        CHECK(0 <= op.stage && op.stage < timeline.pipeline.stages());
        durations[static_cast<std::size_t>(op.stage)].of(op.kind).add(span.duration());
      }
    }
  }
  return durations;
}

// [direction][stage]: how many stages of that direction its rank holds before it.
std::vector<std::vector<int>> chunks_of(const Placement& placement) {
  std::vector<std::vector<int>> chunks;
  for (const std::vector<int>& rank_of : placement.rank_of_stage) {
    std::vector<int> held(static_cast<std::size_t>(placement.ranks), 0);
    std::vector<int>& row = chunks.emplace_back();
    for (const int rank : rank_of) {
      row.push_back(held[static_cast<std::size_t>(rank)]++);
    }
  }
  return chunks;
}

}  // namespace

PartSplitter::PartSplitter(const Timeline& timeline)
    : direction_(timeline.pipeline.direction), chunk_(chunks_of(timeline.pipeline.placement)) {
  for (const Durations& durations : durations_of(timeline)) {
    alone_.push_back(
        {.forward = durations.forward.value(), .backward = durations.whole_backward()});
  }
}

Part PartSplitter::whole(const Op& op, const Span& span) const {
  const std::size_t stage = static_cast<std::size_t>(op.stage);
  const std::size_t microbatch = static_cast<std::size_t>(op.microbatch);
  CHECK(stage < alone_.size() && microbatch < direction_.size());
  const int direction = direction_[microbatch];
  return {.op = op,
          .begin = span.begin,
          .end = span.end,
          .chunk = chunk_[static_cast<std::size_t>(direction)][stage],
          .reverse = direction != 0};
}

Parts PartSplitter::split(const Span& span) const {
  Parts parts{.first = whole(span.slot.front(), span), .second = {}};
  if (span.slot.is_pair()) {
    Part second = whole(span.slot.back(), span);
    const double forward = alone_[static_cast<std::size_t>(parts.first.op.stage)].forward;
    const double backward = alone_[static_cast<std::size_t>(second.op.stage)].backward;
    const bool known = forward > 0.0 && backward > 0.0;
    const double share = known ? forward / (forward + backward) : 1.0 / 3.0;
    const double length = static_cast<double>(span.duration().count());
    second.begin += Time(std::llround(length * share));
    parts.first.end = second.begin;
    parts.second = second;
  }
  return parts;
}

Contents contents_of(const Timeline& timeline, const Contents& others) {
  std::set<OpKind> kinds(others.kinds.begin(), others.kinds.end());
  Contents contents{.kinds = {}, .pairs = others.pairs};
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      contents.pairs = contents.pairs || span.slot.is_pair();
      for (const Op& op : span.slot) {
        kinds.insert(op.kind);
      }
    }
  }
  for (const OpKind kind :
       {OpKind::forward, OpKind::backward, OpKind::backward_input, OpKind::backward_weight}) {
    if (kinds.contains(kind)) {
      contents.kinds.push_back(kind);
    }
  }
  return contents;
}

std::string_view legend_of(OpKind kind) {
  switch (kind) {
    case OpKind::forward:
      return "forward";
    case OpKind::backward:
      return "backward";
    case OpKind::backward_input:
      return "backward for input";
    case OpKind::backward_weight:
      return "backward for weights";
  }
  CHECK(false);
}

}  // namespace dualpipe
