// The time that the pieces of a layer take on a machine: what transformer.h counts, divided by what
// hardware.h says. A piece of computing takes max(FLOP / (peak * efficiency * SM share),
// bytes / memory bandwidth) + launch. Norms, activation functions and rotary embeddings are in the
// efficiency, where it was measured, and nowhere else.

#pragma once

#include "costs/cost_model.h"
#include "costs/hardware.h"
#include "costs/model.h"
#include "costs/overlap.h"
#include "costs/parallel.h"
#include "costs/transformer.h"

namespace dualpipe {

// What costs are derived from.
struct TrainingSetup {
  ModelConfig model{};
  ParallelConfig parallel{};
  HardwareConfig hardware{};
};

// Seconds as whole nanoseconds. Throws Error (usage), naming `what`: more than a thousand seconds,
// which no part of a step takes on any machine that the numbers could be meant for.
[[nodiscard]] Time whole_time(double seconds, const char* what);

// Of a microbatch in one decoder layer. A layer that is fully recomputed sends its tokens to the
// experts once more. Ring attention's messages are hidden behind core attention as far as that is
// longer. Requires: a setup whose parts were all checked.
[[nodiscard]] LayerTimes decoder_layer_times(const TrainingSetup& setup, LayerKind kind,
                                             Recompute recompute);
// The same for the output head, in the fields of an MLP: products in bf16, no messages.
[[nodiscard]] LayerTimes head_times(const TrainingSetup& setup);
// Of a prediction module: a layer of that kind with the module's own product before its attention;
// its pass through the output head is head_times() besides.
[[nodiscard]] LayerTimes mtp_times(const TrainingSetup& setup, LayerKind kind, Recompute recompute);

}  // namespace dualpipe
