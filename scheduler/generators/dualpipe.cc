// DualPipe and DualPipeV (DeepSeek-V3 technical report; deepseek-ai/DualPipe).
//
// DualPipe runs two pipelines through the same ranks in opposite directions, so that each rank
// always has a forward of one and a backward of the other to overlap. DualPipeV folds the two into
// one that goes down the ranks and comes back, with half the parameters per rank. Both are one
// order of steps, written here once, in terms of two phases: for DualPipe a phase is a direction,
// mirrored in the second half of the ranks; for DualPipeV it is a chunk.

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/communication.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

struct Phase {
  int stage = 0;
  int first_microbatch = 0;
};

// How far a rank is from the end it feeds: `depth` ranks lie outside it, of `depths` in all.
struct Position {
  int depth = 0;
  int depths = 0;
  bool turns_inside = false;  // the innermost rank hands on to itself (V), not to its mirror image

  [[nodiscard]] bool innermost() const { return depth == depths - 1; }
};

// When a primitive of the reference implementation communicates, beside its defaults: receive what
// it reads before, send what it writes after.
struct Communicates {
  bool receive = true;
  bool send = true;
};

// Collects one rank's slots, and the sends and receives that the reference implementation issues
// around them. Every kind of op of a phase takes its microbatches in order; weight halves wait in
// one queue for both phases. The function names are the reference's.
class RankOrder {
 public:
  explicit RankOrder(const std::array<Phase, 2>& phases) : phases_(phases) {}

  void forward_chunk(int phase, const Communicates& when = {}) {
    if (when.receive) {
      recv_forward(phase);
    }
    run(next(phase, OpKind::forward));
    if (when.send) {
      send_forward(phase);
    }
  }
  void backward_chunk(int phase, bool enable_zb = false, const Communicates& when = {}) {
    recv_backward(phase);
    const Op op = next(phase, enable_zb ? OpKind::backward_input : OpKind::backward);
    if (enable_zb) {
      waiting_.push_back({op.stage, OpKind::backward_weight, op.microbatch});
    }
    run(op);
    if (when.send) {
      send_backward(phase);
    }
  }
  void forward_backward_chunk(int forward_phase, int backward_phase,
                              const Communicates& when = {}) {
    if (when.receive) {
      recv_forward(forward_phase);
    }
    recv_backward(backward_phase);
    const Op forward = next(forward_phase, OpKind::forward);
    run(Slot::pair(forward, next(backward_phase, OpKind::backward)));
    send_forward(forward_phase);
    send_backward(backward_phase);
  }
  void weight_chunk() {
    CHECK(!waiting_.empty());
    run(waiting_.front());
    waiting_.pop_front();
  }
  void recv_forward(int phase) {
    communicate(CommunicationStep::Kind::receive, ValueKind::activation, phase, -1);
  }
  void recv_backward(int phase) {
    communicate(CommunicationStep::Kind::receive, ValueKind::input_gradient, phase, +1);
  }
  void send_forward(int phase) {
    communicate(CommunicationStep::Kind::send, ValueKind::activation, phase, 0);
  }
  void send_backward(int phase) {
    communicate(CommunicationStep::Kind::send, ValueKind::input_gradient, phase, 0);
  }

  struct Result {
    std::vector<Slot> slots;
    std::vector<CommunicationStep> communication;
  };
  [[nodiscard]] Result take() {
    CHECK(waiting_.empty());
    communication_.push_back({.kind = CommunicationStep::Kind::commit, .value = {}});
    return {std::move(slots_), std::move(communication_)};
  }

 private:
  // A group goes out, whole, before each compute.
  void run(const Slot& slot) {
    communication_.push_back({.kind = CommunicationStep::Kind::commit, .value = {}});
    communication_.push_back({.kind = CommunicationStep::Kind::run, .value = {}});
    slots_.push_back(slot);
  }

  // The value is written by this phase's stage, or by its neighbour `from` stages away.
  void communicate(CommunicationStep::Kind kind, ValueKind value, int phase, int from) {
    const Phase& own = phases_[static_cast<std::size_t>(phase)];
    const bool sends = kind == CommunicationStep::Kind::send;
    int& count = communicated_[static_cast<std::size_t>(phase)][sends ? 1 : 0]
                              [value == ValueKind::activation ? 0 : 1];
    communication_.push_back(
        {.kind = kind, .value = {value, own.stage + from, own.first_microbatch + count++}});
  }

  Op next(int phase, OpKind kind) {
    const std::size_t which = static_cast<std::size_t>(phase);
    std::array<int, 2>& done = kind == OpKind::forward ? forwards_ : backwards_;
    return {phases_[which].stage, kind, phases_[which].first_microbatch + done[which]++};
  }

  std::array<Phase, 2> phases_;
  std::array<int, 2> forwards_{};
  std::array<int, 2> backwards_{};
  std::array<std::array<std::array<int, 2>, 2>, 2> communicated_{};  // [phase][sent][gradient]
  std::deque<Op> waiting_;
  std::vector<Slot> slots_;
  std::vector<CommunicationStep> communication_;
};

// The eight steps of the reference implementation; `microbatches` is the number in each phase.
// Receives that are asked for early, and sends that are held back, are what keeps the reference's
// groups free of deadlock; the slots are the same without them.
class EightSteps {
 public:
  EightSteps(const std::array<Phase, 2>& phases, const Position& position, int microbatches)
      : order_(phases),
        innermost_(position.innermost()),
        hands_on_at_once_(innermost_ && !position.turns_inside),
        outer_(position.depth + 1),
        inner_(position.depths - outer_),
        main_(microbatches - 2 * position.depths + outer_) {}

  [[nodiscard]] RankOrder::Result run() {
    fill();
    overlap();
    drain();
    return order_.take();
  }

 private:
  void fill() {
    for (int i = 0; i < 2 * inner_; ++i) {  // Step 1: nF0
      order_.forward_chunk(0);
    }
    order_.recv_forward(0);
    for (int i = 0; i < outer_; ++i) {  // Step 2: nF0F1
      order_.forward_chunk(0, {.receive = false, .send = hands_on_at_once_});
      order_.recv_forward(0);
      order_.forward_chunk(1, {.receive = true, .send = !innermost_ || i < outer_ - 1});
      if (!hands_on_at_once_) {
        order_.send_forward(0);
      }
    }
    for (int i = 0; i < inner_; ++i) {  // Step 3: nB1W1F1
      order_.backward_chunk(1, true);
      order_.recv_forward(1);
      order_.weight_chunk();
      order_.forward_chunk(1, {.receive = false, .send = true});
    }
  }

  void overlap() {
    for (int i = 0; i < main_; ++i) {  // Step 4: nF0B1F1B0
      if (i > 0) {
        order_.forward_backward_chunk(0, 1);
      } else if (!innermost_) {
        order_.forward_backward_chunk(0, 1, {.receive = false, .send = true});
      } else {  // Not overlapped here, to hand on the forward's output sooner.
        order_.forward_chunk(0, {.receive = false, .send = false});
        order_.send_forward(1);
        order_.backward_chunk(1, false, {.receive = true, .send = false});
        order_.send_forward(0);
        order_.send_backward(1);
      }
      order_.forward_backward_chunk(1, 0);
    }
  }

  void drain() {
    for (int i = 0; i < inner_; ++i) {  // Step 5: nB1F1B0
      order_.backward_chunk(1);
      order_.forward_backward_chunk(1, 0);
    }
    for (int i = 0; i < 2 * outer_; ++i) {  // Step 6: nB1B0, the second half without weights
      order_.backward_chunk(1 - i % 2, i >= outer_);
    }
    for (int i = 0; i < inner_; ++i) {  // Step 7: nW0B0
      order_.weight_chunk();
      order_.backward_chunk(0, true);
    }
    for (int i = 0; i < outer_; ++i) {  // Step 8: nW0
      order_.weight_chunk();
    }
  }

  RankOrder order_;
  bool innermost_;
  bool hands_on_at_once_;
  int outer_;  // ranks from this one to the end that it feeds, itself included
  int inner_;  // ranks between this one and the innermost
  int main_;
};

RankOrder::Result dualpipe_rank(int rank, const Shape& shape) {
  const int P = shape.ranks;
  const int each_way = shape.microbatches / 2;
  std::array<Phase, 2> phases{{{.stage = rank, .first_microbatch = 0},
                               {.stage = P - 1 - rank, .first_microbatch = each_way}}};
  if (rank >= P / 2) {
    std::swap(phases[0], phases[1]);
  }
  const Position position{.depth = std::min(rank, P - 1 - rank), .depths = P / 2};
  return EightSteps(phases, position, each_way).run();
}

RankOrder::Result dualpipev_rank(int rank, const Shape& shape) {
  const int R = shape.ranks;
  const std::array<Phase, 2> phases{
      {{.stage = rank, .first_microbatch = 0}, {.stage = 2 * R - 1 - rank, .first_microbatch = 0}}};
  const Position position{.depth = rank, .depths = R, .turns_inside = true};
  return EightSteps(phases, position, shape.microbatches).run();
}

Schedule dualpipe(const Shape& shape) {
  const int P = shape.ranks;
  Schedule schedule{.pipeline = {.name = "dualpipe",
                                 .placement = bidirectional_placement(P),
                                 .direction = directions_of_microbatches(shape.microbatches, 2)},
                    .ranks = {}};
  for (int rank = 0; rank < P; ++rank) {
    schedule.ranks.push_back(dualpipe_rank(rank, shape).slots);
  }
  return schedule;
}

Schedule dualpipev(const Shape& shape) {
  const int R = shape.ranks;
  Schedule schedule{.pipeline = {.name = "dualpipev",
                                 .placement = v_placement(R),
                                 .direction = directions_of_microbatches(shape.microbatches, 1)},
                    .ranks = {}};
  for (int rank = 0; rank < R; ++rank) {
    schedule.ranks.push_back(dualpipev_rank(rank, shape).slots);
  }
  return schedule;
}

template <RankOrder::Result (*OrderOfRank)(int, const Shape&)>
CommunicationOrder reference_communication(const Shape& shape) {
  CommunicationOrder order;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    order.push_back(OrderOfRank(rank, shape).communication);
  }
  return order;
}

// Exact whatever the costs, without transfers. The published bubble, (P/2-1)(FB + B - 3W), is this
// where F = I >= W.
Time step_time(int depths, int microbatches_of_both, const StageCosts& stage) {
  const int H = depths;
  const Time F = stage.forward;
  const Time I = stage.backward_input;
  const Time W = stage.backward_weight;
  return 2 * H * F + std::max(H * F, (H - 1) * I) +
         (microbatches_of_both - H - 2) * stage.overlapped + (H + 2) * stage.backward() +
         (H - 1) * std::max(I - W, Time{});
}

ClosedForm dualpipe_closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  ClosedForm known{.step_time = std::nullopt, .peak_activations = shape.ranks + 1};
  if (p2p == Time{}) {
    known.step_time = step_time(shape.ranks / 2, shape.microbatches, stage);
  }
  return known;
}

ClosedForm dualpipev_closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  ClosedForm known{.step_time = std::nullopt, .peak_activations = 2 * shape.ranks + 1};
  if (p2p == Time{}) {
    known.step_time = step_time(shape.ranks, 2 * shape.microbatches, stage);
  }
  return known;
}

}  // namespace

constinit const Family dualpipe_family{
    .name = "dualpipe",
    .summary = "two directions, forward overlapped with backward",
    .source = "DeepSeek-V3 technical report, arXiv 2412.19437; deepseek-ai/DualPipe",
    .requirement = "ranks even, microbatches even and at least twice the ranks",
    .step_time_formula =
        "with H = P/2, N = M: 2H F + max(H F, (H-1)I) + (N-H-2)FB + (H+2)B + "
        "(H-1)max(I-W, 0)",
    .supports =
        [](const Shape& shape) {
          return shape.ranks % 2 == 0 && shape.microbatches % 2 == 0 &&
                 shape.microbatches >= 2 * shape.ranks;
        },
    .generate = dualpipe,
    .closed_form = dualpipe_closed_form,
    .reference_communication = reference_communication<dualpipe_rank>,
};

constinit const Family dualpipev_family{
    .name = "dualpipev",
    .summary = "DualPipe folded into a V: one copy of the parameters",
    .source = "Sea AI Lab's cut-in-half of DualPipe; deepseek-ai/DualPipe",
    .requirement = "microbatches at least twice the ranks",
    .step_time_formula = "as dualpipe with H = P, N = 2M",
    .supports = [](const Shape& shape) { return shape.microbatches >= 2 * shape.ranks; },
    .generate = dualpipev,
    .closed_form = dualpipev_closed_form,
    .reference_communication = reference_communication<dualpipev_rank>,
};

}  // namespace dualpipe
