#include "costs/overlap.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"

namespace dualpipe {
namespace {

constexpr std::array<std::string_view, 11> piece_names{
    "ATTN(F)", "DISPATCH(F)", "MLP(F)",  "COMBINE(F)", "COMBINE(B)", "MLP(B)",
    "MLP(W)",  "DISPATCH(B)", "ATTN(B)", "ATTN(W)",    "PP"};

// A piece on its way through the list schedule.
struct Task {
  ChunkSpan span;
  Time duration{};
  int after = -1;  // number of the only task that it waits for; -1: of none
  bool is_done = false;
};

// Numbers of tasks, in the order in which a lane prefers them.
using Lane = std::vector<int>;

class ListSchedule {
 public:
  ListSchedule(std::span<const LayerTimes> forward, std::span<const LayerTimes> backward,
               Time boundary)
      : forward_(forward), backward_(backward), boundary_(boundary) {}

  OverlappedChunks run() {
    list();
    Time now{};
    Time compute_free{};
    Time communication_free{};
    while (true) {
      // A piece without duration may make another ready at the same moment.
      while (start(compute_, now, compute_free) || start(communication_, now, communication_free)) {
      }
      if (compute_.empty() && communication_.empty()) {
        break;
      }
      const Time next = next_end(now);
      CHECK(next > now);  // else no piece is ready and none is running: a circle
      now = next;
    }
    return {.compute = spans_of(ran_compute_),
            .communication = spans_of(ran_communication_),
            .makespan = std::max(compute_free, communication_free)};
  }

 private:
  [[nodiscard]] int forward_layers() const { return static_cast<int>(forward_.size()); }
  [[nodiscard]] int backward_layers() const { return static_cast<int>(backward_.size()); }

  int add(ChunkPiece piece, int layer, Time duration, int after) {
    tasks_.push_back(
        {.span = {.piece = piece, .layer = layer}, .duration = duration, .after = after});
    return static_cast<int>(tasks_.size()) - 1;
  }

  // Starts what follows COMBINE(F) of the layer before; the last task of the chain so far is
  // forward_end_.
  void list_attention_forward(int layer) {
    if (layer < forward_layers()) {
      const Time duration = forward_[static_cast<std::size_t>(layer)].attention_forward;
      forward_end_ = add(ChunkPiece::attention_forward, layer, duration, forward_end_);
      compute_.push_back(forward_end_);
    }
  }

  void list_combine_backward(int layer) {
    if (layer >= 0) {
      const Time duration = backward_[static_cast<std::size_t>(layer)].combine_backward;
      backward_end_ = add(ChunkPiece::combine_backward, layer, duration, backward_end_);
      communication_.push_back(backward_end_);
    }
  }

  void list() {
    list_attention_forward(0);
    list_combine_backward(backward_layers() - 1);
    const int rounds = std::max(forward_layers(), backward_layers());
    for (int round = 0; round < rounds; ++round) {
      list_round(round);
    }
    if (rounds == 0) {
      communication_.push_back(add(ChunkPiece::boundary, 0, boundary_, -1));
    }
  }

  // One turn of the figure.
  void list_round(int round) {
    const bool has_forward = round < forward_layers();
    const int layer = backward_layers() - 1 - round;
    int mlp_forward = -1;
    int combine_forward = -1;
    if (has_forward) {
      const LayerTimes& times = forward_[static_cast<std::size_t>(round)];
      const int dispatch =
          add(ChunkPiece::dispatch_forward, round, times.dispatch_forward, forward_end_);
      communication_.push_back(dispatch);
      mlp_forward = add(ChunkPiece::mlp_forward, round, times.mlp_forward, dispatch);
      combine_forward = add(ChunkPiece::combine_forward, round, times.combine_forward, mlp_forward);
      forward_end_ = combine_forward;
    }
    int attention_input = -1;
    if (layer >= 0) {
      const LayerTimes& times = backward_[static_cast<std::size_t>(layer)];
      const int mlp = add(ChunkPiece::mlp_input, layer, times.mlp_input, backward_end_);
      compute_.push_back(mlp);
      compute_.push_back(add(ChunkPiece::mlp_weight, layer, times.mlp_weight, mlp));
      const int dispatch = add(ChunkPiece::dispatch_backward, layer, times.dispatch_backward, mlp);
      communication_.push_back(dispatch);
      attention_input = add(ChunkPiece::attention_input, layer, times.attention_input, dispatch);
      backward_end_ = attention_input;
    }
    if (has_forward) {
      compute_.push_back(mlp_forward);
      communication_.push_back(combine_forward);
    }
    if (round == 0) {
      communication_.push_back(add(ChunkPiece::boundary, 0, boundary_, -1));
    }
    if (layer >= 0) {
      const Time weight = backward_[static_cast<std::size_t>(layer)].attention_weight;
      compute_.push_back(attention_input);
      compute_.push_back(add(ChunkPiece::attention_weight, layer, weight, attention_input));
    }
    list_attention_forward(round + 1);
    list_combine_backward(layer - 1);
  }

  // Starts the first ready piece of the lane if the lane is free. Returns whether one was started.
  bool start(Lane& lane, Time now, Time& free) {
    if (free > now) {
      return false;
    }
    const auto ready = std::ranges::find_if(lane, [&](int number) {
      const int after = at(number).after;
      return after < 0 || (at(after).is_done && at(after).span.end <= now);
    });
    if (ready == lane.end()) {
      return false;
    }
    Task& task = at(*ready);
    task.span.begin = now;
    task.span.end = now + task.duration;
    task.is_done = true;
    free = task.span.end;
    (&lane == &compute_ ? ran_compute_ : ran_communication_).push_back(*ready);
    lane.erase(ready);
    return true;
  }

  // The first end of a started piece after `now`; `now` where there is none.
  [[nodiscard]] Time next_end(Time now) const {
    Time next = now;
    for (const Lane* lane : {&ran_compute_, &ran_communication_}) {
      if (!lane->empty()) {
        const Time end = tasks_[static_cast<std::size_t>(lane->back())].span.end;
        next = end > now && (next == now || end < next) ? end : next;
      }
    }
    return next;
  }

  [[nodiscard]] std::vector<ChunkSpan> spans_of(const Lane& ran) const {
    std::vector<ChunkSpan> spans;
    for (const int number : ran) {
      const Task& task = tasks_[static_cast<std::size_t>(number)];
      if (task.duration > Time(0)) {
        spans.push_back(task.span);
      }
    }
    return spans;
  }

  Task& at(int number) { return tasks_[static_cast<std::size_t>(number)]; }

  std::span<const LayerTimes> forward_;
  std::span<const LayerTimes> backward_;
  Time boundary_{};
  std::vector<Task> tasks_;
  Lane compute_;  // not started yet
  Lane communication_;
  Lane ran_compute_;
  Lane ran_communication_;
  int forward_end_ = -1;
  int backward_end_ = -1;
};

}  // namespace

std::string_view name_of(ChunkPiece piece) {
  return piece_names[static_cast<std::size_t>(piece)];
}

OverlappedChunks overlap_chunks(std::span<const LayerTimes> forward,
                                std::span<const LayerTimes> backward, Time boundary) {
  return ListSchedule(forward, backward, boundary).run();
}

}  // namespace dualpipe
