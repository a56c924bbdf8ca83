// DualPipe and DualPipeV (DeepSeek-V3 technical report; deepseek-ai/DualPipe).
//
// DualPipe runs two pipelines through the same ranks in opposite directions, so that each rank
// always has a forward of one and a backward of the other to overlap. DualPipeV folds the two into
// one that goes down the ranks and comes back, with half the parameters per rank. Both are one
// order of steps, written here once, in terms of two phases: for DualPipe a phase is a direction,
// mirrored in the second half of the ranks; for DualPipeV it is a chunk.
//
// The references ask for an even number of ranks, and for microbatches that are even in number and
// fill the pipeline. The shapes beyond are ours. With an odd number of ranks, the middle one is the
// innermost of both halves and holds one stage for both directions. With too few microbatches for a
// rank's eight steps, or one more in one direction than in the other, the steps are those for as
// many as they need, of which the first do not exist: so the forwards still fill the pipeline as
// fast as they can, and the last backwards still leave their weights for later.

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
  int microbatches = 0;
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
//
// Every kind of op of a phase is asked for `rounds` times. Where that is more often than there are
// microbatches, the first ones are left out, with their communication.
class RankOrder {
 public:
  RankOrder(const std::array<Phase, 2>& phases, int rounds) : phases_(phases) {
    for (std::size_t phase = 0; phase < phases.size(); ++phase) {
      const int first = phases[phase].microbatches - rounds;
      CHECK(first <= 0);
      forwards_[phase] = first;
      backwards_[phase] = first;
      communicated_[phase] = {{{first, first}, {first, first}}};
    }
  }

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
    const std::optional<Op> op = next(phase, enable_zb ? OpKind::backward_input : OpKind::backward);
    if (enable_zb) {
      waiting_.push_back(op);
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
    const std::optional<Op> forward = next(forward_phase, OpKind::forward);
    const std::optional<Op> backward = next(backward_phase, OpKind::backward);
    if (forward && backward) {
      run(Slot::pair(*forward, *backward));
    } else {
      run(forward ? forward : backward);
    }
    send_forward(forward_phase);
    send_backward(backward_phase);
  }
  void weight_chunk() {
    CHECK(!waiting_.empty());
    if (const std::optional<Op> input = waiting_.front()) {
      run(Op{input->stage, OpKind::backward_weight, input->microbatch});
    }
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
  void run(const std::optional<Slot>& slot) {
    if (slot) {
      communication_.push_back({.kind = CommunicationStep::Kind::commit, .value = {}});
      communication_.push_back({.kind = CommunicationStep::Kind::run, .value = {}});
      slots_.push_back(*slot);
    }
  }

  // The value is written by this phase's stage, or by its neighbour `from` stages away.
  void communicate(CommunicationStep::Kind kind, ValueKind value, int phase, int from) {
    const Phase& own = phases_[static_cast<std::size_t>(phase)];
    const bool sends = kind == CommunicationStep::Kind::send;
    int& next = communicated_[static_cast<std::size_t>(phase)][sends ? 1 : 0]
                             [value == ValueKind::activation ? 0 : 1];
    const int number = next++;
    if (number >= 0) {
      communication_.push_back(
          {.kind = kind, .value = {value, own.stage + from, own.first_microbatch + number}});
    }
  }

  // None in the place of a microbatch before the first.
  std::optional<Op> next(int phase, OpKind kind) {
    const std::size_t which = static_cast<std::size_t>(phase);
    const int number = (kind == OpKind::forward ? forwards_ : backwards_)[which]++;
    if (number < 0) {
      return std::nullopt;
    }
    return Op{phases_[which].stage, kind, phases_[which].first_microbatch + number};
  }

  std::array<Phase, 2> phases_;
  // The next number of each phase; below zero, of microbatches that do not exist.
  std::array<int, 2> forwards_{};
  std::array<int, 2> backwards_{};
  std::array<std::array<std::array<int, 2>, 2>, 2> communicated_{};  // [phase][sent][gradient]
  std::deque<std::optional<Op>> waiting_;                            // for their weight halves
  std::vector<Slot> slots_;
  std::vector<CommunicationStep> communication_;
};

// The eight steps of the reference implementation.
// Receives that are asked for early, and sends that are held back, are what keeps the reference's
// groups free of deadlock; the slots are the same without them.
class EightSteps {
 public:
  EightSteps(const std::array<Phase, 2>& phases, const Position& position)
      : innermost_(position.innermost()),
        hands_on_at_once_(innermost_ && !position.turns_inside),
        outer_(position.depth + 1),
        inner_(position.depths - outer_),
        main_(std::max(
            0, std::max(phases[0].microbatches, phases[1].microbatches) - 2 * inner_ - outer_)),
        order_(phases, main_ + 2 * inner_ + outer_) {}

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

  bool innermost_;
  bool hands_on_at_once_;
  int outer_;  // ranks from this one to the end that it feeds, itself included
  int inner_;  // ranks between this one and the innermost
  int main_;
  RankOrder order_;
};

int depths_of(const Shape& shape) {
  return (shape.ranks + 1) / 2;
}

RankOrder::Result dualpipe_rank(int rank, const Shape& shape) {
  const int P = shape.ranks;
  const int down = shape.microbatches / 2;
  std::array<Phase, 2> phases{{{.stage = rank, .first_microbatch = 0, .microbatches = down},
                               {.stage = P - 1 - rank,
                                .first_microbatch = down,
                                .microbatches = shape.microbatches - down}}};
  if (rank >= depths_of(shape)) {
    std::swap(phases[0], phases[1]);
  }
  const Position position{.depth = std::min(rank, P - 1 - rank), .depths = depths_of(shape)};
  return EightSteps(phases, position).run();
}

RankOrder::Result dualpipev_rank(int rank, const Shape& shape) {
  const int R = shape.ranks;
  const int M = shape.microbatches;
  const std::array<Phase, 2> phases{
      {{.stage = rank, .first_microbatch = 0, .microbatches = M},
       {.stage = 2 * R - 1 - rank, .first_microbatch = 0, .microbatches = M}}};
  const Position position{.depth = rank, .depths = R, .turns_inside = true};
  return EightSteps(phases, position).run();
}

template <RankOrder::Result (*OrderOfRank)(int, const Shape&)>
RankOrders order(const Shape& shape) {
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    ranks.push_back(OrderOfRank(rank, shape).slots);
  }
  return ranks;
}

// Every rank has microbatches for all of its eight steps.
bool fills_the_steps(const Shape& shape) {
  return shape.microbatches >= 2 * shape.ranks;
}

// One microbatch more in one direction leaves the reference's groups live; what else is ours has
// another order of messages than they are made for.
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

// With an odd number of ranks as with one more.
ClosedForm dualpipe_closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int M = shape.microbatches;
  const int H = depths_of(shape);
  ClosedForm known;
  if (shape.ranks % 2 == 0 || M % 2 == 0) {
    known.peak_activations = std::min(M, 2 * H + 1);
  }
  if (p2p == Time{} && M % 2 == 0 && M >= 4 * H) {
    known.step_time = step_time(H, M, stage);
  }
  return known;
}

ClosedForm dualpipev_closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int M = shape.microbatches;
  ClosedForm known{.peak_activations = std::min(2 * M, 2 * shape.ranks + 1)};
  if (p2p == Time{} && fills_the_steps(shape)) {
    known.step_time = step_time(shape.ranks, 2 * M, stage);
  }
  return known;
}

}  // namespace

constinit const Family dualpipe_family{
    .name = "dualpipe",
    .summary = "two directions, forward overlapped with backward",
    .source = "DeepSeek-V3 technical report, arXiv 2412.19437; deepseek-ai/DualPipe",
    .requirement = "any ranks, any microbatches",
    .step_time_formula =
        "with H = P/2 rounded up, N = M: 2H F + max(H F, (H-1)I) + (N-H-2)FB + (H+2)B + "
        "(H-1)max(I-W, 0) when M >= 4H, even",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return bidirectional_placement(shape.ranks); },
    .order = order<dualpipe_rank>,
    .closed_form = dualpipe_closed_form,
    .reference_communication =
        [](const Shape& shape) {
          return shape.ranks % 2 == 0 && fills_the_steps(shape)
                     ? reference_communication<dualpipe_rank>(shape)
                     : CommunicationOrder{};
        },
};

constinit const Family dualpipev_family{
    .name = "dualpipev",
    .summary = "DualPipe folded into a V: one copy of the parameters",
    .source = "Sea AI Lab's cut-in-half of DualPipe; deepseek-ai/DualPipe",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "as dualpipe with H = P, N = 2M, when M >= 2P",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return v_placement(shape.ranks); },
    .order = order<dualpipev_rank>,
    .closed_form = dualpipev_closed_form,
    .reference_communication =
        [](const Shape& shape) {
          return fills_the_steps(shape) ? reference_communication<dualpipev_rank>(shape)
                                        : CommunicationOrder{};
        },
};

}  // namespace dualpipe
