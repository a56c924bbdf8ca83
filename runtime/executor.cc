#include "runtime/executor.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/collectives.h"
#include "runtime/gradient_sum.h"
#include "runtime/message_buffer.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Ticket no_ticket = ~Ticket{0};

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// The beginning of a buffer that is large enough for several uses.
MessageBuffer part(const MessageBuffer& buffer, std::size_t payload_bytes) {
  return MessageBuffer(buffer.message().first(MessageBuffer::header_bytes + payload_bytes));
}

MessageClass class_of(ValueKind kind) {
  return kind == ValueKind::activation ? MessageClass::activation : MessageClass::gradient;
}

}  // namespace

class Executor::State {
 public:
  State(const Program& program, Transport& transport, const StageFactory& make_stage,
        const ExecutorOptions& options);

  RankStep run(std::uint64_t step);
  void reduce_replicas();
  void apply_gradients();

  [[nodiscard]] std::span<const HeldStage> stages() const { return stages_; }
  [[nodiscard]] std::size_t message_bytes() const { return arena_.bytes(); }

 private:
  // The buffers of one channel at this rank: message k uses buffer k modulo their number.
  struct ChannelBuffers {
    std::size_t first = 0;  // index in the arena
    int count = 0;          // 0 where this rank is no end of the channel
  };

  void make_stages(const StageFactory& make_stage);
  void check_boundaries() const;
  void reserve_messages();
  void reserve_local_buffers();
  void reserve_replica_buffers();
  [[nodiscard]] std::size_t payload_bytes(const Value& value) const;
  [[nodiscard]] const Stage* held_object(int stage) const;
  [[nodiscard]] MessageBuffer buffer_of(const Message& message) const;
  [[nodiscard]] MessageHeader header_of(const Message& message) const;
  [[nodiscard]] std::span<std::byte> bytes_at(const Place& place) const;
  [[nodiscard]] int replica_peer(const HeldStage& stage) const;

  void execute(const Instruction& instruction, RankStep& result);
  void post_receive(std::int32_t index);
  void await_received(std::int32_t index, RankStep& result);
  void post_send(std::int32_t index, RankStep& result);
  void await_sent(std::int32_t index);
  void run_slot(std::int32_t index, RankStep& result);
  void call_stages(const Slot& slot, const std::array<OpPlan, 2>& plans);
  void call_stage(const Op& op, const OpPlan& plan);
  void add_gradient(const Op& op, const OpPlan& plan);
  void note_loss(const Op& op, const OpPlan& plan, RankStep& result) const;
  [[nodiscard]] StageOp stage_op(const Op& op, const OpPlan& plan) const;
  [[nodiscard]] Stage::ForwardCall forward_call(const Op& op, const OpPlan& plan) const;
  [[nodiscard]] Stage::BackwardCall backward_call(const Op& op, const OpPlan& plan);

  const Program& program_;
  Transport& transport_;
  int rank_;
  BoundedWait waits_;
  RankPlan plan_;
  std::vector<HeldStage> stages_;         // as plan_.stages
  std::vector<GradientSum> gradients_;    // as plan_.stages
  std::vector<std::span<float>> totals_;  // of the last step, as plan_.stages
  MessageArena arena_;
  std::vector<ChannelBuffers> channels_;  // [channel]
  std::vector<std::size_t> local_;        // [local buffer]: index in the arena
  std::size_t replica_sent_ = 0;          // indices in the arena
  std::size_t replica_received_ = 0;
  std::vector<Ticket> tickets_;  // [message], of what is under way
  std::uint64_t step_ = 0;
};

Executor::State::State(const Program& program, Transport& transport, const StageFactory& make_stage,
                       const ExecutorOptions& options)
    : program_(program),
      transport_(transport),
      rank_(transport.rank()),
      waits_(program, transport, options.op_timeout),
      plan_(plan_rank(program, transport.rank())),
      tickets_(program.messages().size(), no_ticket) {
  if (transport.ranks() != program.pipeline().ranks()) {
    throw Error(ExitCode::usage,
                fmt::format("the schedule is for {} ranks, but the transport '{}' has {}",
                            program.pipeline().ranks(), transport.name(), transport.ranks()));
  }
  if (program.pipeline().placement.directions() > 2) {
    throw Error(ExitCode::usage, "the runtime runs schedules of one or two directions");
  }
  make_stages(make_stage);
  check_boundaries();
  reserve_messages();
  reserve_local_buffers();
  reserve_replica_buffers();
  arena_.seal();
}

// --- making ---

void Executor::State::make_stages(const StageFactory& make_stage) {
  for (const RankPlan::HeldStage& held : plan_.stages) {
    std::unique_ptr<Stage> object = make_stage(held.stage);
    object->allocate(held.activation_slots);
    gradients_.emplace_back(object->parameter_count(), held.weight_order,
                            program_.pipeline().microbatches());
    stages_.push_back({.stage = held.stage,
                       .direction = held.direction,
                       .object = std::move(object),
                       .gradient = {}});
  }
  totals_.resize(stages_.size());
}

const Stage* Executor::State::held_object(int stage) const {
  for (const HeldStage& held : stages_) {
    if (held.stage == stage) {
      return held.object.get();
    }
  }
  return nullptr;
}

void Executor::State::check_boundaries() const {
  for (const HeldStage& held : stages_) {
    const Stage* next = held_object(held.stage + 1);
    if (next != nullptr && next->input_bytes() != held.object->output_bytes()) {
      throw Error(ExitCode::usage,
                  fmt::format("stage {} gives {} bytes, but stage {} takes {}: neighbours must "
                              "agree on their boundary",
                              held.stage, held.object->output_bytes(), held.stage + 1,
                              next->input_bytes()));
    }
  }
}

// A boundary is known from either side of it.
std::size_t Executor::State::payload_bytes(const Value& value) const {
  const int below = value.kind == ValueKind::activation ? value.stage : value.stage - 1;
  if (const Stage* stage = held_object(below)) {
    return stage->output_bytes();
  }
  const Stage* stage = held_object(below + 1);
  CHECK(stage != nullptr);
  return stage->input_bytes();
}

void Executor::State::reserve_messages() {
  channels_.resize(program_.channels().size());
  std::vector<std::size_t> payload_max(channels_.size(), 0);
  for (const Message& message : program_.messages()) {
    const Channel& channel = program_.channel_of(message);
    if (channel.source == rank_ || channel.destination == rank_) {
      std::size_t& largest = payload_max[at(message.channel)];
      largest = std::max(largest, payload_bytes(message.value));
    }
  }
  for (std::size_t index = 0; index < channels_.size(); ++index) {
    const Channel& channel = program_.channels()[index];
    if (channel.source != rank_ && channel.destination != rank_) {
      continue;
    }
    const int count =
        channel.source == rank_ ? program_.send_buffers() : program_.receive_buffers();
    for (int buffer = 0; buffer < count; ++buffer) {
      const std::size_t reserved = arena_.reserve(payload_max[index]);
      if (buffer == 0) {
        channels_[index] = {.first = reserved, .count = count};
      }
    }
  }
}

void Executor::State::reserve_local_buffers() {
  for (const RankPlan::LocalBuffer& buffer : plan_.local_buffers) {
    const Stage& writer = *stages_[at(buffer.writer)].object;
    local_.push_back(arena_.reserve(buffer.kind == ValueKind::activation ? writer.output_bytes()
                                                                         : writer.input_bytes()));
  }
}

void Executor::State::reserve_replica_buffers() {
  std::size_t parameters = 0;
  for (const HeldStage& held : stages_) {
    if (replica_peer(held) != rank_) {
      parameters = std::max(parameters, held.object->parameter_count());
    }
  }
  replica_sent_ = arena_.reserve(parameters * sizeof(float));
  replica_received_ = arena_.reserve(parameters * sizeof(float));
}

// --- where things are ---

MessageBuffer Executor::State::buffer_of(const Message& message) const {
  const ChannelBuffers& channel = channels_[at(message.channel)];
  CHECK(channel.count > 0);
  return part(arena_.at(channel.first + at(message.sequence % channel.count)),
              payload_bytes(message.value));
}

MessageHeader Executor::State::header_of(const Message& message) const {
  const Channel& channel = program_.channel_of(message);
  return {.step = step_,
          .payload_bytes = payload_bytes(message.value),
          .source = channel.source,
          .destination = channel.destination,
          .stage = message.value.stage,
          .microbatch = message.value.microbatch,
          .sequence = message.sequence,
          .message_class = class_of(channel.kind)};
}

std::span<std::byte> Executor::State::bytes_at(const Place& place) const {
  switch (place.kind) {
    case Place::Kind::nowhere:
      return {};
    case Place::Kind::message:
      return buffer_of(program_.message(place.index)).payload();
    case Place::Kind::local:
      return arena_.at(local_[at(place.index)]).payload();
  }
  return {};
}

// The rank that holds the stage for the other direction; this rank where there is none other.
int Executor::State::replica_peer(const HeldStage& stage) const {
  const Placement& placement = program_.pipeline().placement;
  const int other = placement.directions() - 1 - stage.direction;
  return placement.rank_of_stage[at(other)][at(stage.stage)];
}

// --- a step ---

RankStep Executor::State::run(std::uint64_t step) {
  step_ = step;
  RankStep result;
  result.spans.reserve(program_.slots(rank_).size());
  result.sent.reserve(program_.slots(rank_).size());
  result.received.reserve(program_.slots(rank_).size());
  result.loss.resize(at(program_.pipeline().microbatches()), 0.0);
  result.begin = Clock::now();
  for (const Instruction& instruction : program_.instructions(rank_)) {
    execute(instruction, result);
  }
  for (std::size_t held = 0; held < stages_.size(); ++held) {
    totals_[held] = gradients_[held].finish();
    stages_[held].gradient = totals_[held];
  }
  return result;
}

void Executor::State::execute(const Instruction& instruction, RankStep& result) {
  switch (instruction.kind) {
    case Instruction::Kind::receive:
      post_receive(instruction.index);
      break;
    case Instruction::Kind::await_received:
      await_received(instruction.index, result);
      break;
    case Instruction::Kind::run:
      run_slot(instruction.index, result);
      break;
    case Instruction::Kind::send:
      post_send(instruction.index, result);
      break;
    case Instruction::Kind::await_sent:
      await_sent(instruction.index);
      break;
    case Instruction::Kind::end_group:
      break;  // These transports run every operation on its own, which is live wherever groups are.
  }
}

void Executor::State::post_receive(std::int32_t index) {
  const Message& message = program_.message(index);
  tickets_[at(index)] =
      transport_.post_receive(program_.channel_of(message).source, class_of(message.value.kind),
                              buffer_of(message).message());
}

void Executor::State::await_received(std::int32_t index, RankStep& result) {
  transport_.status().publish(static_cast<std::int64_t>(step_), Activity::awaiting_receive, index);
  waits_.wait(tickets_[at(index)]);
  const Message& message = program_.message(index);
  buffer_of(message).check_header(header_of(message));
  result.received.push_back({.message = index, .time = Clock::now()});
}

void Executor::State::post_send(std::int32_t index, RankStep& result) {
  const Message& message = program_.message(index);
  const MessageBuffer buffer = buffer_of(message);
  buffer.write_header(header_of(message));
  result.sent.push_back({.message = index, .time = Clock::now()});
  tickets_[at(index)] = transport_.post_send(program_.channel_of(message).destination,
                                             class_of(message.value.kind), buffer.message());
}

void Executor::State::await_sent(std::int32_t index) {
  transport_.status().publish(static_cast<std::int64_t>(step_), Activity::awaiting_send, index);
  waits_.wait(tickets_[at(index)]);
}

void Executor::State::run_slot(std::int32_t index, RankStep& result) {
  const Slot& slot = program_.slots(rank_)[at(index)];
  const std::array<OpPlan, 2>& plans = plan_.slots[at(index)];
  transport_.status().publish(static_cast<std::int64_t>(step_), Activity::running, index);
  const Clock::time_point begin = Clock::now();
  try {
    call_stages(slot, plans);
    note_loss(slot.front(), plans[0], result);
  } catch (const std::exception& error) {
    throw Error(ExitCode::callback, fmt::format("rank {}, step {}: {} failed: {}", rank_, step_,
                                                to_string(slot), error.what()));
  }
  result.spans.push_back(
      {.slot = slot, .begin = begin - result.begin, .end = Clock::now() - result.begin});
}

void Executor::State::call_stages(const Slot& slot, const std::array<OpPlan, 2>& plans) {
  if (!slot.is_pair()) {
    call_stage(slot.front(), plans[0]);
    return;
  }
  Stage& forward = *stages_[at(plans[0].held)].object;
  Stage& backward = *stages_[at(plans[1].held)].object;
  forward.forward_overlapped(forward_call(slot.front(), plans[0]), backward,
                             backward_call(slot.back(), plans[1]));
  add_gradient(slot.back(), plans[1]);
}

void Executor::State::call_stage(const Op& op, const OpPlan& plan) {
  Stage& stage = *stages_[at(plan.held)].object;
  switch (op.kind) {
    case OpKind::forward:
      stage.forward(stage_op(op, plan), bytes_at(plan.input), bytes_at(plan.output));
      break;
    case OpKind::backward:
      stage.backward(backward_call(op, plan));
      add_gradient(op, plan);
      break;
    case OpKind::backward_input:
      stage.backward_input(stage_op(op, plan), bytes_at(plan.input), bytes_at(plan.output));
      break;
    case OpKind::backward_weight:
      stage.backward_weight(stage_op(op, plan), gradients_[at(plan.held)].next());
      add_gradient(op, plan);
      break;
  }
}

void Executor::State::add_gradient(const Op& op, const OpPlan& plan) {
  gradients_[at(plan.held)].add(op.microbatch);
}

void Executor::State::note_loss(const Op& op, const OpPlan& plan, RankStep& result) const {
  if (op.kind == OpKind::forward && op.stage == program_.pipeline().stages() - 1) {
    result.loss[at(op.microbatch)] = stages_[at(plan.held)].object->loss(stage_op(op, plan));
  }
}

StageOp Executor::State::stage_op(const Op& op, const OpPlan& plan) const {
  return {.step = step_, .microbatch = op.microbatch, .slot = plan.activation_slot};
}

Stage::ForwardCall Executor::State::forward_call(const Op& op, const OpPlan& plan) const {
  return {.op = stage_op(op, plan), .input = bytes_at(plan.input), .output = bytes_at(plan.output)};
}

Stage::BackwardCall Executor::State::backward_call(const Op& op, const OpPlan& plan) {
  return {.op = stage_op(op, plan),
          .output_gradient = bytes_at(plan.input),
          .input_gradient = bytes_at(plan.output),
          .gradient = gradients_[at(plan.held)].next()};
}

// --- after a step ---

// Both ranks of a pair of replicas go through their stages in ascending order, and so meet.
void Executor::State::reduce_replicas() {
  if (program_.pipeline().placement.directions() == 1) {
    return;
  }
  for (std::size_t held = 0; held < stages_.size(); ++held) {
    const HeldStage& stage = stages_[held];
    const int peer = replica_peer(stage);
    transport_.status().publish(static_cast<std::int64_t>(step_), Activity::reducing_replicas,
                                stage.stage);
    const std::span<float> gradient = totals_[held];
    if (gradient.empty()) {
      continue;
    }
    if (peer != rank_) {
      const std::size_t bytes = gradient.size_bytes();
      add_replica(waits_, peer, gradient, part(arena_.at(replica_sent_), bytes),
                  part(arena_.at(replica_received_), bytes));
    } else if (held + 1 < stages_.size() && stages_[held + 1].stage == stage.stage) {
      const std::span<float> other = totals_[held + 1];
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        gradient[i] += other[i];
        other[i] = gradient[i];
      }
    }
  }
}

void Executor::State::apply_gradients() {
  for (const HeldStage& held : stages_) {
    transport_.status().publish(static_cast<std::int64_t>(step_), Activity::optimizing, held.stage);
    try {
      held.object->apply_gradient(held.gradient);
    } catch (const std::exception& error) {
      throw Error(ExitCode::callback, fmt::format("rank {}, step {}: the optimizer of stage {} "
                                                  "failed: {}",
                                                  rank_, step_, held.stage, error.what()));
    }
  }
}

Executor::Executor(const Program& program, Transport& transport, const StageFactory& make_stage,
                   const ExecutorOptions& options)
    : state_(std::make_unique<State>(program, transport, make_stage, options)) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;

RankStep Executor::run(std::uint64_t step) {
  return state_->run(step);
}
void Executor::reduce_replicas() {
  state_->reduce_replicas();
}
void Executor::apply_gradients() {
  state_->apply_gradients();
}
std::span<const HeldStage> Executor::stages() const {
  return state_->stages();
}
std::size_t Executor::message_bytes() const {
  return state_->message_bytes();
}

}  // namespace dualpipe
