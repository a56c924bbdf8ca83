#include "runtime/rank_memory.h"

#include <cstddef>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/cpu_device.h"
#include "runtime/held_stage.h"
#include "runtime/message_buffer.h"
#include "runtime/rank_plan.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/schedules.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

struct Rank {
  Rank(const char* family, int ranks, int microbatches, const TransportSemantics& semantics,
       int of_rank)
      : program(compile_or_throw(
            generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}),
            semantics)),
        plan(plan_rank(program, of_rank)),
        stages(make_held_stages(plan, toy_factory({.stages = program.pipeline().stages(),
                                                   .microbatches = microbatches,
                                                   .before = {}}))),
        memory(program, of_rank, plan, stages, device),
        number(of_rank) {}

  CpuDevice device;
  Program program;
  RankPlan plan;
  std::vector<HeldStage> stages;
  RankMemory memory;
  int number;
};

// A toy boundary is 5 floats, a replica's message is empty here, and payloads begin at multiples of
// 256: the last one of them ends the memory.
constexpr std::size_t message_distance = 256;

TEST(RankMemory, IsTheProgramsBuffersAndNothingElse) {
  for (const int send_slots : {1, 2}) {
    for (const int receives_ahead : {0, 1, 2}) {
      const Rank rank("1f1b", 3, 6, {.receives_ahead = receives_ahead, .send_slots = send_slots},
                      1);
      // Two channels out, two in; no replica, but its two headers.
      const std::size_t sends = 2 * static_cast<std::size_t>(rank.program.send_buffers());
      const std::size_t receives = 2 * static_cast<std::size_t>(rank.program.receive_buffers());
      EXPECT_EQ(rank.memory.bytes(), (sends + receives + 2) * message_distance);
    }
  }
}

TEST(RankMemory, ReplicasExchangeThroughBuffersOfTheirOwn) {
  const Rank rank("dualpipe", 2, 4, eager, 0);
  const RankMemory::ReplicaBuffers buffers = rank.memory.replica_buffers(ToyStage::width);
  EXPECT_EQ(buffers.sent.payload().size(), ToyStage::width * sizeof(float));
  EXPECT_EQ(buffers.received.payload().size(), ToyStage::width * sizeof(float));
  EXPECT_NE(buffers.sent.message().data(), buffers.received.message().data());
  EXPECT_EQ(replica_peer(rank.program.pipeline().placement, rank.stages[0]), 1);
}

TEST(RankMemory, MessagesOfAChannelTakeTurnsInItsBuffers) {
  const Rank rank("1f1b", 2, 8, {.receives_ahead = 1, .send_slots = 2}, 0);
  for (std::size_t channel = 0; channel < rank.program.channels().size(); ++channel) {
    std::vector<const std::byte*> buffers;  // [sequence]
    for (const Message& message : rank.program.messages()) {
      if (static_cast<std::size_t>(message.channel) == channel) {
        buffers.push_back(rank.memory.buffer_of(message).message().data());
        EXPECT_EQ(rank.memory.payload_bytes(message), ToyStage::width * sizeof(float));
      }
    }
    const bool sends = rank.program.channels()[channel].source == rank.number;
    const std::size_t count = static_cast<std::size_t>(sends ? rank.program.send_buffers()
                                                             : rank.program.receive_buffers());
    EXPECT_EQ(std::set(buffers.begin(), buffers.end()).size(), count);
    for (std::size_t sequence = count; sequence < buffers.size(); ++sequence) {
      EXPECT_EQ(buffers[sequence], buffers[sequence - count]);
    }
  }
}

}  // namespace
}  // namespace dualpipe
