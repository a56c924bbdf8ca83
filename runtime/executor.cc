#include "runtime/executor.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/collectives.h"
#include "runtime/device.h"
#include "runtime/gradient_sum.h"
#include "runtime/held_stage.h"
#include "runtime/job_end.h"
#include "runtime/message_buffer.h"
#include "runtime/rank_memory.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "runtime/status.h"
#include "runtime/status_words.h"
#include "runtime/step_marks.h"
#include "runtime/step_memory.h"
#include "runtime/trainer_call.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int32_t no_message = -1;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

MessageClass class_of(ValueKind kind) {
  return kind == ValueKind::activation ? MessageClass::activation : MessageClass::gradient;
}

// This rank, of a program and a transport that fit each other.
int checked_rank(const Program& program, const Transport& transport) {
  if (transport.ranks() != program.pipeline().ranks()) {
    throw Error(ExitCode::usage,
                fmt::format("the schedule is for {} ranks, but the transport '{}' has {}",
                            program.pipeline().ranks(), transport.name(), transport.ranks()));
  }
  if (program.pipeline().placement.directions() > 2) {
    throw Error(ExitCode::usage, "the runtime runs schedules of one or two directions");
  }
  require_room(program, transport.rank());
  return transport.rank();
}

}  // namespace

class Executor::State {
 public:
  State(const Program& program, Transport& transport, const StageFactory& make_stage,
        const ExecutorOptions& options);

  const RankStep& run(std::uint64_t step);
  void reduce_replicas();
  void await_all_ranks() const;
  void apply_gradients();
  [[nodiscard]] std::vector<float> read(std::span<const float> memory);

  [[nodiscard]] std::span<const HeldStage> stages() const { return stages_; }
  [[nodiscard]] std::size_t message_bytes() const { return memory_.bytes(); }
  [[nodiscard]] const Program& program() const { return program_; }
  [[nodiscard]] Transport& transport() const { return transport_; }
  [[nodiscard]] StepBytes memory() const { return in_use_.bytes(); }

 private:
  void execute(const Instruction& instruction);
  void post_receive(std::int32_t index);
  void await_received(std::int32_t index);
  void check_arrivals();
  void post_send(std::int32_t index);
  void await_sent(std::int32_t index);
  void run_slot(std::int32_t index);
  void call_stages(const Slot& slot, const std::array<OpPlan, 2>& plans);
  void call_stage(const Op& op, const OpPlan& plan);
  void add_gradient(const Op& op, const OpPlan& plan);
  void finish_slots(std::size_t count);
  void wait_for_device();
  void note_losses();

  // What errors begin with.
  [[nodiscard]] std::string place() const {
    return fmt::format("rank {}, step {}: ", rank_, step_);
  }
  [[nodiscard]] MessageHeader header_of(const Message& message) const;
  [[nodiscard]] DeviceMessage message_of(std::int32_t index) const;
  [[nodiscard]] StageOp stage_op(const Op& op, const OpPlan& plan) const;
  [[nodiscard]] Stage::ForwardCall forward_call(const Op& op, const OpPlan& plan) const;
  [[nodiscard]] Stage::BackwardCall backward_call(const Op& op, const OpPlan& plan);
  void publish(Activity activity, std::int32_t index) {
    transport_.status().publish(static_cast<std::int64_t>(step_), activity, index);
  }

  const Program& program_;
  Transport& transport_;
  Device& device_;
  int rank_;
  BoundedWait waits_;
  RankPlan plan_;
  std::vector<HeldStage> stages_;         // as plan_.stages
  std::vector<GradientSum> gradients_;    // as plan_.stages
  std::vector<std::span<float>> totals_;  // of the last step, as plan_.stages
  RankMemory memory_;
  StepMemory in_use_;
  StepMarks marks_;
  DeviceMemory headers_;                 // host: [own message], as it was sent or has arrived
  DeviceMemory replica_header_;          // host
  std::vector<Ticket> tickets_;          // [message], of what is under way
  std::vector<std::string> names_;       // [slot]
  std::vector<std::int32_t> awaited_;    // [slot]: the last message it waits for, or no_message
  std::vector<std::int32_t> unchecked_;  // messages of this step, in the order of their arrival
  std::size_t checked_ = 0;              // how many of them have been
  std::size_t finished_slots_ = 0;       // of this step, as far as the host knows
  std::uint64_t step_ = 0;
  RankStep result_;
};

Executor::State::State(const Program& program, Transport& transport, const StageFactory& make_stage,
                       const ExecutorOptions& options)
    : program_(program),
      transport_(transport),
      device_(transport.device()),
      rank_(checked_rank(program, transport)),
      waits_(program, transport, options.op_timeout),
      plan_(plan_rank(program, rank_)),
      stages_(make_held_stages(plan_, make_stage)),
      totals_(stages_.size()),
      memory_(program, rank_, plan_, stages_, device_),
      in_use_(plan_, stages_, memory_.bytes()),
      marks_(program, rank_, device_),
      headers_(device_, marks_.messages() * MessageBuffer::header_bytes, MemoryHome::host),
      replica_header_(device_, MessageBuffer::header_bytes, MemoryHome::host),
      tickets_(program.messages().size()) {
  for (std::size_t held = 0; held < stages_.size(); ++held) {
    gradients_.emplace_back(device_, stages_[held].object->parameter_count(),
                            plan_.stages[held].weight_order, program.pipeline().microbatches());
  }
  std::int32_t awaited = no_message;
  for (const Instruction& instruction : program.instructions(rank_)) {
    if (instruction.kind == Instruction::Kind::await_received) {
      awaited = instruction.index;
    } else if (instruction.kind == Instruction::Kind::run) {
      awaited_.push_back(awaited);
      awaited = no_message;
    }
  }
  for (const Slot& slot : program.slots(rank_)) {
    names_.push_back(to_string(slot));
  }
  unchecked_.reserve(marks_.messages());
  result_.spans.reserve(names_.size());
  result_.sent.reserve(marks_.messages());
  result_.received.reserve(marks_.messages());
  result_.loss.resize(at(program.pipeline().microbatches()), 0.0);
}

MessageHeader Executor::State::header_of(const Message& message) const {
  const Channel& channel = program_.channel_of(message);
  return {.step = step_,
          .payload_bytes = memory_.payload_bytes(message),
          .source = channel.source,
          .destination = channel.destination,
          .stage = message.value.stage,
          .microbatch = message.value.microbatch,
          .sequence = message.sequence,
          .message_class = class_of(channel.kind)};
}

DeviceMessage Executor::State::message_of(std::int32_t index) const {
  const std::size_t offset = marks_.own_number(index) * MessageBuffer::header_bytes;
  return {.device = device_,
          .message = memory_.buffer_of(program_.message(index)),
          .host = MessageBuffer(headers_.bytes().subspan(offset, MessageBuffer::header_bytes))};
}

// --- a step ---

const RankStep& Executor::State::run(std::uint64_t step) {
  step_ = step;
  unchecked_.clear();
  checked_ = 0;
  finished_slots_ = 0;
  const Clock::time_point begin = Clock::now();
  for (const Instruction& instruction : program_.instructions(rank_)) {
    execute(instruction);
  }
  for (std::size_t held = 0; held < stages_.size(); ++held) {
    totals_[held] = gradients_[held].finish();
    stages_[held].gradient = totals_[held];
  }
  finish_slots(names_.size());
  wait_for_device();
  check_arrivals();
  CHECK(checked_ == unchecked_.size());
  marks_.read(begin, result_);
  note_losses();
  return result_;
}

void Executor::State::execute(const Instruction& instruction) {
  switch (instruction.kind) {
    case Instruction::Kind::receive:
      post_receive(instruction.index);
      break;
    case Instruction::Kind::await_received:
      await_received(instruction.index);
      break;
    case Instruction::Kind::run:
      run_slot(instruction.index);
      break;
    case Instruction::Kind::send:
      post_send(instruction.index);
      break;
    case Instruction::Kind::await_sent:
      await_sent(instruction.index);
      break;
    case Instruction::Kind::end_group:
      transport_.end_group();
      break;
  }
}

void Executor::State::post_receive(std::int32_t index) {
  const Message& message = program_.message(index);
  tickets_[at(index)] =
      transport_.post_receive(program_.channel_of(message).source, class_of(message.value.kind),
                              memory_.buffer_of(message).message());
}

void Executor::State::await_received(std::int32_t index) {
  publish(Activity::awaiting_receive, index);
  waits_.wait(tickets_[at(index)]);
  message_of(index).fetch_header();
  device_.mark(marks_.message(index));
  unchecked_.push_back(index);
  check_arrivals();
}

// Of the messages that the device has come to.
void Executor::State::check_arrivals() {
  for (; checked_ < unchecked_.size(); ++checked_) {
    const std::int32_t index = unchecked_[checked_];
    if (!device_.wait(marks_.message(index), {})) {
      return;
    }
    message_of(index).check_header(header_of(program_.message(index)));
  }
}

void Executor::State::post_send(std::int32_t index) {
  const Message& message = program_.message(index);
  const DeviceMessage outgoing = message_of(index);
  outgoing.write_header(header_of(message));
  device_.mark(marks_.message(index));
  tickets_[at(index)] =
      transport_.post_send(program_.channel_of(message).destination, class_of(message.value.kind),
                           outgoing.message.message());
}

void Executor::State::await_sent(std::int32_t index) {
  publish(Activity::awaiting_send, index);
  waits_.wait(tickets_[at(index)]);
}

void Executor::State::run_slot(std::int32_t index) {
  const Slot& slot = program_.slots(rank_)[at(index)];
  const std::size_t ahead = at(device_.run_ahead_max());
  if (at(index) > ahead) {
    finish_slots(at(index) - ahead);
  }
  publish(Activity::running, index);
  device_.annotate(names_[at(index)].c_str());
  device_.mark(marks_.slot_begin(at(index)));
  try {
    call_in_step([&] { return place() + to_string(slot); },
                 [&] { call_stages(slot, plan_.slots[at(index)]); });
  } catch (const Error& error) {
    throw Error(error.code(),
                error.what() + past_line(program_, transport_.status().read(), rank_));
  }
  device_.mark(marks_.slot_end(at(index)));
}

// Waits until the device has done the first `count` slots, and keeps the status page at what the
// device is at, not the host.
void Executor::State::finish_slots(std::size_t count) {
  for (; finished_slots_ < count; ++finished_slots_) {
    if (!device_.wait(marks_.slot_end(finished_slots_), {})) {
      if (awaited_[finished_slots_] != no_message) {
        publish(Activity::awaiting_receive, awaited_[finished_slots_]);
      }
      waits_.wait_for_mark(marks_.slot_begin(finished_slots_));
      publish(Activity::running, static_cast<std::int32_t>(finished_slots_));
      waits_.wait_for_mark(marks_.slot_end(finished_slots_));
    }
  }
  check_arrivals();
}

void Executor::State::wait_for_device() {
  device_.mark(marks_.last());
  waits_.wait_for_mark(marks_.last());
}

void Executor::State::note_losses() {
  const std::span<const Slot> slots = program_.slots(rank_);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const Op& op = slots[slot].front();
    if (op.kind == OpKind::forward && op.stage == program_.pipeline().stages() - 1) {
      const Stage& stage = *stages_[at(plan_.slots[slot].front().held)].object;
      result_.loss[at(op.microbatch)] = call_in_step(
          [&] { return place() + fmt::format("the loss of microbatch {}", op.microbatch); },
          [&] { return stage.loss(op.microbatch); });
    }
  }
}

void Executor::State::call_stages(const Slot& slot, const std::array<OpPlan, 2>& plans) {
  if (!slot.is_pair()) {
    call_stage(slot.front(), plans[0]);
    return;
  }
  Stage& forward = *stages_[at(plans[0].held)].object;
  Stage& backward = *stages_[at(plans[1].held)].object;
  in_use_.occupy(plans[0].held);
  forward.forward_overlapped(forward_call(slot.front(), plans[0]), backward,
                             backward_call(slot.back(), plans[1]));
  add_gradient(slot.back(), plans[1]);
}

void Executor::State::call_stage(const Op& op, const OpPlan& plan) {
  Stage& stage = *stages_[at(plan.held)].object;
  switch (op.kind) {
    case OpKind::forward:
      in_use_.occupy(plan.held);
      stage.forward(stage_op(op, plan), memory_.at(plan.input), memory_.at(plan.output));
      break;
    case OpKind::backward:
      stage.backward(backward_call(op, plan));
      add_gradient(op, plan);
      break;
    case OpKind::backward_input:
      stage.backward_input(stage_op(op, plan), memory_.at(plan.input), memory_.at(plan.output));
      break;
    case OpKind::backward_weight:
      stage.backward_weight(stage_op(op, plan), gradients_[at(plan.held)].next());
      add_gradient(op, plan);
      break;
  }
}

// The last of a microbatch at a stage.
void Executor::State::add_gradient(const Op& op, const OpPlan& plan) {
  gradients_[at(plan.held)].add(op.microbatch);
  in_use_.release(plan.held);
}

StageOp Executor::State::stage_op(const Op& op, const OpPlan& plan) const {
  return {.step = step_, .microbatch = op.microbatch, .slot = plan.activation_slot};
}

Stage::ForwardCall Executor::State::forward_call(const Op& op, const OpPlan& plan) const {
  return {
      .op = stage_op(op, plan), .input = memory_.at(plan.input), .output = memory_.at(plan.output)};
}

Stage::BackwardCall Executor::State::backward_call(const Op& op, const OpPlan& plan) {
  return {.op = stage_op(op, plan),
          .output_gradient = memory_.at(plan.input),
          .input_gradient = memory_.at(plan.output),
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
    const int peer = replica_peer(program_.pipeline().placement, stage);
    publish(Activity::reducing_replicas, stage.stage);
    const std::span<float> gradient = totals_[held];
    if (gradient.empty()) {
      continue;
    }
    if (peer != rank_) {
      const RankMemory::ReplicaBuffers buffers = memory_.replica_buffers(gradient.size());
      add_replica({.waits = waits_,
                   .sent = buffers.sent,
                   .received = buffers.received,
                   .header = MessageBuffer(replica_header_.bytes()),
                   .mark = marks_.last()},
                  peer, gradient);
    } else if (held + 1 < stages_.size() && stages_[held + 1].stage == stage.stage) {
      const std::span<float> other = totals_[held + 1];
      device_.add(other, gradient);
      device_.copy(std::as_bytes(gradient), std::as_writable_bytes(other));
    }
  }
  wait_for_device();
}

void Executor::State::await_all_ranks() const {
  await_all(waits_);
}

void Executor::State::apply_gradients() {
  for (const HeldStage& held : stages_) {
    publish(Activity::optimizing, held.stage);
    call_in_step([&] { return place() + fmt::format("the optimizer of stage {}", held.stage); },
                 [&] { held.object->apply_gradient(held.gradient); });
  }
  wait_for_device();
}

std::vector<float> Executor::State::read(std::span<const float> memory) {
  const DeviceMemory copy(device_, memory.size_bytes(), MemoryHome::host);
  device_.copy(std::as_bytes(memory), copy.bytes());
  wait_for_device();
  return {copy.floats().begin(), copy.floats().end()};
}

Executor::Executor(const Program& program, Transport& transport, const StageFactory& make_stage,
                   const ExecutorOptions& options)
    : state_(heard_by_all(program, transport, [&] {
        return std::make_unique<State>(program, transport, make_stage, options);
      })) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;

const RankStep& Executor::run(std::uint64_t step) {
  return heard_by_all(state_->program(), state_->transport(),
                      [&]() -> const RankStep& { return state_->run(step); });
}
void Executor::reduce_replicas() {
  heard_by_all(state_->program(), state_->transport(), [&] { state_->reduce_replicas(); });
}
void Executor::await_all_ranks() {
  heard_by_all(state_->program(), state_->transport(), [&] { state_->await_all_ranks(); });
}
void Executor::apply_gradients() {
  heard_by_all(state_->program(), state_->transport(), [&] { state_->apply_gradients(); });
}
std::span<const HeldStage> Executor::stages() const {
  return state_->stages();
}
std::size_t Executor::message_bytes() const {
  return state_->message_bytes();
}
StepBytes Executor::memory() const {
  return state_->memory();
}
std::vector<float> Executor::read(std::span<const float> memory) {
  return heard_by_all(state_->program(), state_->transport(), [&] { return state_->read(memory); });
}

}  // namespace dualpipe
