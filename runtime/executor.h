// Executor: one rank's part of a Program, run for real. It interprets the rank's instruction list:
// posts receives and sends, waits with a deadline, calls the stages, sums gradients in a fixed
// order, and records when each slot ran. All memory is allocated when it is made.
//
// On a device with a queue the host goes through the list ahead of the device, at most
// Device::run_ahead_max() slots, and the queue does the waiting; the headers of messages are
// checked when the device has got them to the host, at the latest before run() returns.
//
// Where a call throws, it has ended the job before, by Transport::abort(), with the words of what
// it throws: so every other rank hears of it, and none touches this rank's buffers any more.
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

#include "runtime/held_stage.h"
#include "runtime/stage.h"
#include "runtime/step_marks.h"
#include "runtime/step_memory.h"
#include "runtime/transport.h"
#include "scheduler/program.h"

namespace dualpipe {

struct ExecutorOptions {
  std::chrono::nanoseconds op_timeout = std::chrono::seconds(60);  // for every single wait
};

class Executor {
 public:
  // Makes and allocates the stages of the transport's rank and all buffers, on its device.
  // `program` and `transport` must outlive the executor. Throws Error (usage) when neighbouring
  // stages disagree about a boundary's size as far as this rank can tell, and when the program has
  // more sends and receives under way at once than a transport holds (operations.h).
  Executor(const Program& program, Transport& transport, const StageFactory& make_stage,
           const ExecutorOptions& options);
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept = delete;

  // Runs the schedule once: afterwards every held stage has its own gradient, not yet reduced over
  // replicas. Throws Error: timeout, transport (a message that is not the expected one), callback
  // (a stage threw), or that of a peer that has aborted. The result is valid until the next run().
  const RankStep& run(std::uint64_t step);

  // Sums the gradients of stages that live on two ranks; nothing to do with one direction. Returns
  // when they are there.
  void reduce_replicas();

  // Returns when every rank has called it: the gate before apply_gradients(). Without it a rank
  // would go on to the next step's parameters where the step has failed on another.
  void await_all_ranks();

  // One optimizer step on every held stage. Returns when it is done.
  void apply_gradients();

  [[nodiscard]] std::span<const HeldStage> stages() const;
  [[nodiscard]] std::size_t message_bytes() const;  // of all message buffers of this rank
  [[nodiscard]] StepBytes memory() const;           // of the steps so far
  // What device memory holds, on the host.
  [[nodiscard]] std::vector<float> read(std::span<const float> memory);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace dualpipe
