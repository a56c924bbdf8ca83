// What every Program promises to the engines that run it: its messages, and buffers that are free
// whenever an instruction takes them.

#include "scheduler/program.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

using Kind = Instruction::Kind;

// Carries out one rank's instructions as far as buffers are concerned.
class BufferCheck {
 public:
  BufferCheck(const Program& program, int rank) : program_(program), rank_(rank) {
    for (std::size_t index = 0; index < program.messages().size(); ++index) {
      message_of_[program.messages()[index].value] = static_cast<std::int32_t>(index);
    }
  }

  void run() {
    std::int32_t slots = 0;
    for (const Instruction& instruction : program_.instructions(rank_)) {
      if (instruction.kind == Kind::run) {
        ASSERT_EQ(instruction.index, slots++);
        run_slot(program_.slots(rank_)[static_cast<std::size_t>(instruction.index)]);
      } else if (instruction.kind != Kind::end_group) {
        communicate(instruction);
      }
    }
    EXPECT_EQ(static_cast<std::size_t>(slots), program_.slots(rank_).size());
    EXPECT_THAT(send_buffers_, IsEmpty());
    EXPECT_THAT(receive_buffers_, IsEmpty());
  }

  // How often each message was sent, awaited and so on, here.
  [[nodiscard]] const std::map<std::pair<Kind, std::int32_t>, int>& counts() const {
    return counts_;
  }

 private:
  using Buffer = std::pair<std::int32_t, int>;  // channel, number

  [[nodiscard]] Buffer buffer(std::int32_t message, int buffers) const {
    return {program_.message(message).channel, program_.message(message).sequence % buffers};
  }

  void communicate(const Instruction& instruction) {
    const std::int32_t message = instruction.index;
    const Channel& channel = program_.channel_of(program_.message(message));
    ++counts_[{instruction.kind, message}];
    const Buffer sent = buffer(message, program_.send_buffers());
    const Buffer received = buffer(message, program_.receive_buffers());
    switch (instruction.kind) {
      case Kind::receive:
        EXPECT_EQ(channel.destination, rank_);
        EXPECT_TRUE(receive_buffers_.emplace(received, message).second) << "still in use";
        break;
      case Kind::await_received:
        EXPECT_EQ(receive_buffers_.at(received), message);
        arrived_.insert(message);
        break;
      case Kind::send:
        EXPECT_EQ(channel.source, rank_);
        EXPECT_EQ(send_buffers_.at(sent), message) << "not written yet";
        posted_.insert(message);
        break;
      case Kind::await_sent:
        EXPECT_TRUE(posted_.contains(message)) << "awaited before it is posted";
        EXPECT_EQ(send_buffers_.at(sent), message);
        send_buffers_.erase(sent);
        break;
      case Kind::run:
      case Kind::end_group:
        break;
    }
  }

  void run_slot(const Slot& slot) {
    std::vector<Buffer> consumed;
    for (const Op& op : slot) {
      for (const Value& value : reads(op, program_.pipeline().stages())) {
        const auto found = message_of_.find(value);
        if (value.stage != op.stage && found != message_of_.end()) {
          EXPECT_TRUE(arrived_.contains(found->second)) << to_string(op) << " has no input yet";
          consumed.push_back(buffer(found->second, program_.receive_buffers()));
        }
      }
      for (const Value& value : writes(op)) {
        const auto found = message_of_.find(value);
        if (found != message_of_.end()) {
          const Buffer taken = buffer(found->second, program_.send_buffers());
          EXPECT_TRUE(send_buffers_.emplace(taken, found->second).second)
              << to_string(op) << " overwrites what is still to be sent";
        }
      }
    }
    for (const Buffer& one : consumed) {
      receive_buffers_.erase(one);
    }
  }

  const Program& program_;
  int rank_;
  std::map<Value, std::int32_t> message_of_;
  std::map<Buffer, std::int32_t> send_buffers_;     // from being written to having been sent
  std::map<Buffer, std::int32_t> receive_buffers_;  // from the post to the end of the reader
  std::set<std::int32_t> arrived_;
  std::set<std::int32_t> posted_;
  std::map<std::pair<Kind, std::int32_t>, int> counts_;
};

void check_messages(const Program& program) {
  ASSERT_TRUE(std::is_sorted(program.channels().begin(), program.channels().end()));
  std::set<Value> values;
  std::int32_t channel = 0;
  std::int32_t sequence = 0;
  for (const Message& message : program.messages()) {
    sequence = message.channel == channel ? sequence : 0;
    EXPECT_LE(channel, message.channel);
    channel = message.channel;
    EXPECT_EQ(message.sequence, sequence++);
    EXPECT_TRUE(values.insert(message.value).second) << to_string(message.value) << " twice";
    const Pipeline& pipeline = program.pipeline();
    const int receiver = receiving_stage(message.value, pipeline.stages());
    EXPECT_EQ(program.channel_of(message),
              (Channel{pipeline.rank_of(message.value.stage, message.value.microbatch),
                       pipeline.rank_of(receiver, message.value.microbatch), message.value.kind}));
  }
}

void check_program(const Program& program) {
  SCOPED_TRACE(to_text(program.schedule()));
  check_messages(program);
  std::map<std::pair<Kind, std::int32_t>, int> counts;
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    BufferCheck check(program, rank);
    check.run();
    for (const auto& [what, count] : check.counts()) {
      counts[what] += count;
    }
  }
  EXPECT_EQ(counts.size(), 4 * program.messages().size());
  for (const auto& [what, count] : counts) {
    EXPECT_EQ(count, 1) << "message " << what.second;
  }
}

constexpr std::array<TransportSemantics, 6> transports{{
    {},
    {.receives_ahead = 0},
    {.receives_ahead = 0, .send_slots = 0},
    {.receives_ahead = 3, .send_slots = 2},
    {.receives_ahead = 50, .send_slots = 50},
    {.topology = Topology::channel, .grouped = true, .receives_ahead = 0, .send_slots = 1},
}};

TEST(Program, OfEveryFamilyKeepsItsPromises) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 9, .chunks = 2})) {
      const Schedule schedule = quickly_generated(*family, shape);
      for (const TransportSemantics& semantics : transports) {
        const Compilation compilation = compile(schedule, semantics);
        if (compilation.program) {
          check_program(*compilation.program);
        }
      }
    }
  }
}

TEST(Program, OfTheReferencesGroupsKeepsItsPromises) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    const Family& family = find_family(name);
    for (const Shape& shape : supported_shapes(family, {.ranks = 6, .microbatches = 13})) {
      SCOPED_TRACE(to_string(family, shape));
      if (!family.reference_communication(shape).empty()) {
        check_program(reference_program(family, shape));
      }
    }
  }
}

TEST(Program, OfRandomSchedulesKeepsItsPromises) {
  int live = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {});
    for (const TransportSemantics& semantics : transports) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      if (const Compilation compilation = compile(schedule, semantics); compilation.program) {
        check_program(*compilation.program);
        ++live;
      }
    }
  }
  EXPECT_GT(live, 600);
}

}  // namespace
}  // namespace dualpipe
