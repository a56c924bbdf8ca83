#include "sim/network.h"

#include <string>

#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/schedule.h"
#include "tests/support/instructions.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using Mode = NetworkModel::Mode;

std::string instructions_for(Mode mode) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  const Compilation compilation = compile_for(mode, schedule);
  EXPECT_TRUE(compilation.program);
  return instructions_of(*compilation.program, 1);
}

TEST(CompileFor, EagerPostsReceivesAhead) {
  EXPECT_EQ(instructions_for(Mode::eager),
            "receive a0, receive a1, await a0, 1F0, 1B0, send g0, await a1, 1F1, sent g0, 1B1, "
            "send g1, sent g1");
}

TEST(CompileFor, RendezvousPostsAReceiveWhenItIsNeeded) {
  EXPECT_EQ(instructions_for(Mode::rendezvous),
            "receive a0, await a0, 1F0, 1B0, send g0, receive a1, await a1, 1F1, sent g0, 1B1, "
            "send g1, sent g1");
}

TEST(CompileFor, GroupedSendsWithTheNextReceive) {
  EXPECT_EQ(instructions_for(Mode::grouped),
            "receive a0, go, await a0, 1F0, 1B0, send g0, receive a1, go, sent g0, await a1, 1F1, "
            "1B1, send g1, go, sent g1");
}

}  // namespace
}  // namespace dualpipe
