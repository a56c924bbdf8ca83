// Part: what a picture shows of a slot - one op, from when to when. A slot of one op is one part;
// an overlapped pair is two, side by side: the two run at the same time, but a reader wants to see
// both, so the pair's span is divided between them.

#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "trace/timeline.h"

namespace dualpipe {

struct Part {
  Op op;
  Time begin{};
  Time end{};
  int chunk = 0;         // which of the rank's stages for this direction, ascending from 0
  bool reverse = false;  // the microbatch goes direction 1

  [[nodiscard]] Time duration() const { return end - begin; }
};

struct Parts {
  Part first;                  // a pair's forward, or the only op
  std::optional<Part> second;  // a pair's backward
};

// Divides the spans of one timeline. A pair is divided as its two ops compare when they run alone,
// on average over the timeline; one to two where their stages never run both alone. So with F = I =
// W = 1 a pair of three is drawn as one unit of F and two of B, as papers do.
class PartSplitter {
 public:
  explicit PartSplitter(const Timeline& timeline);

  // Requires: the span's ops fit the timeline's pipeline.
  [[nodiscard]] Parts split(const Span& span) const;

 private:
  // Mean durations of the ops of one stage outside pairs; zero where there are none.
  struct Alone {
    double forward = 0.0;
    double backward = 0.0;
  };

  [[nodiscard]] Part whole(const Op& op, const Span& span) const;

  std::vector<int> direction_;           // [microbatch]
  std::vector<std::vector<int>> chunk_;  // [direction][stage]
  std::vector<Alone> alone_;             // [stage]
};

// What a legend has to explain: the kinds of op that occur, in the order F, B, I, W, and whether
// some are overlapped.
struct Contents {
  std::vector<OpKind> kinds;
  bool pairs = false;
};

// Of `timeline` and of what `others` were found in.
[[nodiscard]] Contents contents_of(const Timeline& timeline, const Contents& others = {});

// "forward", "backward", "backward for input", "backward for weights".
[[nodiscard]] std::string_view legend_of(OpKind kind);
inline constexpr std::string_view legend_of_pair = "overlapped forward & backward";

}  // namespace dualpipe
