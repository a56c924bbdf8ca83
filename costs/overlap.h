// One forward overlapped with one backward, piece by piece: while one computes, the other
// communicates. This is what makes an overlapped pair shorter than its two halves, and by how much
// is worked out here instead of being asked for.
//
// A rank has two lanes. The pieces of a layer go to them as in figure 4 of the DeepSeek-V3 report,
// again and again, forward from the first layer and backward from the last:
//
//   compute        MLP(B) MLP(W) MLP(F) ATTN(B) ATTN(W) ATTN(F)
//   communication  DISPATCH(F) DISPATCH(B) COMBINE(F) PP COMBINE(B)
//
// with ATTN(F) -> DISPATCH(F) -> MLP(F) -> COMBINE(F) -> ATTN(F) of the next layer,
// COMBINE(B) -> MLP(B) -> DISPATCH(B) -> ATTN(B) -> COMBINE(B) of the layer before, MLP(B) ->
// MLP(W) and ATTN(B) -> ATTN(W).

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"

namespace dualpipe {

// How long the pieces of one layer take. DISPATCH and COMBINE are whatever is communicated before
// and after the MLP: a MoE layer's all-to-alls, tensor parallelism's collectives, or nothing.
struct LayerTimes {
  Time attention_forward{};
  Time dispatch_forward{};
  Time mlp_forward{};
  Time combine_forward{};
  Time combine_backward{};  // the first of a layer's backward
  Time mlp_input{};
  Time mlp_weight{};
  Time dispatch_backward{};
  Time attention_input{};
  Time attention_weight{};

  // One after another, with nothing to hide the communication behind.
  [[nodiscard]] Time forward() const {
    return attention_forward + dispatch_forward + mlp_forward + combine_forward;
  }
  [[nodiscard]] Time backward_input() const {
    return combine_backward + mlp_input + dispatch_backward + attention_input;
  }
  [[nodiscard]] Time backward_weight() const { return mlp_weight + attention_weight; }

  bool operator==(const LayerTimes&) const = default;
};

enum class ChunkPiece : std::uint8_t {
  attention_forward,
  dispatch_forward,
  mlp_forward,
  combine_forward,
  combine_backward,
  mlp_input,
  mlp_weight,
  dispatch_backward,
  attention_input,
  attention_weight,
  boundary,  // transfers to and from neighbouring stages
};

// "ATTN(F)", "DISPATCH(F)", ..., "PP": as in the figure.
[[nodiscard]] std::string_view name_of(ChunkPiece piece);

struct ChunkSpan {
  ChunkPiece piece = ChunkPiece::boundary;
  int layer = 0;  // of its chunk, from 0; 0 for the boundary
  Time begin{};
  Time end{};

  bool operator==(const ChunkSpan&) const = default;
};

// Spans of a lane do not overlap and ascend. Pieces that take no time have none.
struct OverlappedChunks {
  std::vector<ChunkSpan> compute;
  std::vector<ChunkSpan> communication;
  Time makespan{};

  bool operator==(const OverlappedChunks&) const = default;
};

// List scheduling: a lane that is free runs the first piece of its list whose predecessors are
// over. So some lane is busy at every moment, and max(sum of each lane) <= makespan <= sum of all
// pieces. Both chunks have their layers in the order of a forward. `boundary` are the transfers
// that neighbours make during the pair; nothing in it waits for them.
[[nodiscard]] OverlappedChunks overlap_chunks(std::span<const LayerTimes> forward,
                                              std::span<const LayerTimes> backward, Time boundary);

}  // namespace dualpipe
