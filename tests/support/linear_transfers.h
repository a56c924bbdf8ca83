// Transfers between linear ranks, stage s on rank s, with times in nanoseconds.

#pragma once

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "trace/timeline.h"

namespace dualpipe {

// NOLINTBEGIN(bugprone-easily-swappable-parameters): they read as "of stage 0, microbatch 1, from
// 10 to 13", in the order of every text form.
inline Transfer activation(int stage, int microbatch, int begin, int end) {
  return {.value = {ValueKind::activation, stage, microbatch},
          .source = stage,
          .destination = stage + 1,
          .begin = Time(begin),
          .end = Time(end)};
}

inline Transfer gradient(int stage, int microbatch, int begin, int end) {
  return {.value = {ValueKind::input_gradient, stage, microbatch},
          .source = stage,
          .destination = stage - 1,
          .begin = Time(begin),
          .end = Time(end)};
}
// NOLINTEND(bugprone-easily-swappable-parameters)

}  // namespace dualpipe
