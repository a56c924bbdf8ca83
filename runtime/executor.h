// Executor: one rank's part of a Program, run for real. It interprets the rank's instruction list:
// posts receives and sends, waits with a deadline, calls the stages, sums gradients in a fixed
// order, and records when each slot ran. All memory is allocated when it is made; a step allocates
// nothing but its trace.
//
// Order of summation, the same for every schedule, number of directions and transport: the weight
// gradients of a stage are added in the order of microbatches within each half of the microbatches
// (0..M/2-1 and M/2..M-1), then the two halves are added. With two directions each replica holds
// one half, and the replicas' sum adds them. So equal seeds give equal bits - unless a schedule
// spreads one half of the microbatches over both replicas, where only rounding differs.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/stage.h"
#include "runtime/transport.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

struct ExecutorOptions {
  std::chrono::nanoseconds op_timeout = std::chrono::seconds(60);  // for every single wait
};

// When one end of a message's journey happened.
struct MessageTime {
  std::int32_t message = 0;  // index into Program::messages()
  std::chrono::steady_clock::time_point time;
};

// What one rank did in one step, by the steady clock of its host.
struct RankStep {
  std::chrono::steady_clock::time_point begin;  // before the first instruction
  std::vector<Span> spans;                      // relative to `begin`
  std::vector<MessageTime> sent;                // when each send was posted
  std::vector<MessageTime> received;            // when this rank found that it had arrived
  std::vector<double> loss;  // [microbatch]; 0 where this rank does not compute its loss
};

// One Stage object of a rank, and where it belongs.
struct HeldStage {
  int stage = 0;
  int direction = 0;
  std::unique_ptr<Stage> object;
  std::span<const float> gradient;  // of the last step, complete after reduce_replicas()
};

class Executor {
 public:
  // Makes and allocates the stages of `rank` and all buffers. `program` and `transport` must
  // outlive the executor. Throws Error (usage) when neighbouring stages disagree about a boundary's
  // size as far as this rank can tell.
  Executor(const Program& program, Transport& transport, const StageFactory& make_stage,
           const ExecutorOptions& options);
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept = delete;

  // Runs the schedule once: afterwards every held stage has its own gradient, not yet reduced over
  // replicas. Throws Error: timeout, transport (a message that is not the expected one; a peer that
  // aborted), callback (a stage threw).
  [[nodiscard]] RankStep run(std::uint64_t step);

  // Sums the gradients of stages that live on two ranks; nothing to do with one direction.
  void reduce_replicas();

  // One optimizer step on every held stage.
  void apply_gradients();

  [[nodiscard]] std::span<const HeldStage> stages() const;
  [[nodiscard]] std::size_t message_bytes() const;  // of all message buffers of this rank

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace dualpipe
