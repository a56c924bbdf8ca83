#include "runtime/collectives.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/control_message.h"
#include "runtime/cpu_device.h"
#include "runtime/device.h"
#include "runtime/inproc_transport.h"
#include "runtime/message_buffer.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Every rank on a thread of its own. The program only serves the report, should a wait be too long.
void on_all_ranks(int ranks, const std::function<void(const BoundedWait&)>& body) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = ranks, .microbatches = 1}));
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(ranks);
  std::vector<std::jthread> threads;
  for (const std::unique_ptr<Transport>& transport : transports) {
    threads.emplace_back([&program, &transport, &body] {
      body(BoundedWait(program, *transport, std::chrono::seconds(60)));
    });
  }
}

class Collectives : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Ranks, Collectives, testing::Values(1, 2, 3, 5, 8));

TEST_P(Collectives, GatherBringsEveryRanksBytesToRank0InOrder) {
  on_all_ranks(GetParam(), [](const BoundedWait& waits) {
    const auto bytes_of = [](int rank) {  // rank 1 has none
      return message_of(static_cast<std::uint64_t>(rank),
                        rank == 1 ? 0 : 100 * static_cast<std::size_t>(rank) + 1);
    };
    const Transport& transport = waits.transport();
    const std::vector<std::vector<std::byte>> gathered = gather(waits, bytes_of(transport.rank()));
    if (transport.rank() != 0) {
      EXPECT_THAT(gathered, IsEmpty());
      return;
    }
    ASSERT_EQ(static_cast<int>(gathered.size()), transport.ranks());
    for (int rank = 0; rank < transport.ranks(); ++rank) {
      EXPECT_EQ(gathered[static_cast<std::size_t>(rank)], bytes_of(rank)) << "rank " << rank;
    }
  });
}

TEST_P(Collectives, BroadcastBringsRank0sBytesToAll) {
  on_all_ranks(GetParam(), [](const BoundedWait& waits) {
    for (const std::size_t bytes : {0UL, 1UL, 5000UL}) {
      const std::vector<std::byte> told = message_of(bytes, bytes);
      const bool first = waits.transport().rank() == 0;
      EXPECT_EQ(broadcast(waits, first ? told : message_of(99, 7)), told);
    }
  });
}

TEST_P(Collectives, FollowEachOtherWithoutMixing) {
  on_all_ranks(GetParam(), [](const BoundedWait& waits) {
    const std::uint64_t rank = static_cast<std::uint64_t>(waits.transport().rank());
    for (std::uint64_t round = 0; round < 5; ++round) {
      const auto gathered = gather(waits, message_of(10 * round + rank, 8));
      for (std::size_t k = 0; k < gathered.size(); ++k) {
        EXPECT_EQ(gathered[k], message_of(10 * round + k, 8));
      }
      EXPECT_EQ(broadcast(waits, message_of(1000 + round, 20)), message_of(1000 + round, 20));
    }
  });
}

TEST(Gather, MovesMoreThanOnePiece) {
  constexpr std::size_t bytes = (std::size_t{33} << 20) + 5;
  on_all_ranks(2, [](const BoundedWait& waits) {
    const std::vector<std::byte> mine = message_of(5, bytes);
    const auto gathered = gather(waits, mine);
    if (waits.transport().rank() == 0) {
      EXPECT_TRUE(gathered[1] == mine);
    }
  });
}

TEST(Gather, TellsTheWatchdogWhomItWaitsFor) {
  on_all_ranks(3, [](const BoundedWait& waits) {
    waits.transport().status().publish(4, Activity::running, 0);
    static_cast<void>(gather(waits, {}));
    const RankStatus status = waits.transport().status().read();
    EXPECT_EQ(status.step, 4);
    EXPECT_EQ(status.activity, Activity::synchronizing);
    EXPECT_EQ(status.index, waits.transport().rank() == 0 ? 2 : 0);
  });
}

// What gather() (sequence 0) or broadcast() (1) sends first.
struct Announced {
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;
};

void send_announcement(Transport& transport, int sequence, std::uint64_t bytes) {
  ControlMessage<Announced> announcement(0, 1, sequence);
  announcement.write({.bytes = bytes});
  expect_done(transport, transport.post_send(1, MessageClass::control, announcement.message()));
}

// Rank 1 of two ends in this way when rank 0 does that instead of a broadcast.
template <typename Instead>
std::string refused_broadcast(const Instead& instead) {
  std::string message;
  on_all_ranks(2, [&](const BoundedWait& waits) {
    if (waits.transport().rank() == 0) {
      instead(waits.transport());
    } else {
      message = refusal(ExitCode::transport, [&] { return broadcast(waits, {}); });
    }
  });
  return message;
}

TEST(Broadcast, AlteredBytesAreFound) {
  EXPECT_THAT(refused_broadcast([](Transport& transport) {
                send_announcement(transport, 1, 3);
                const std::array<std::byte, 3> altered{};
                expect_done(transport, transport.post_send(1, MessageClass::control, altered));
              }),
              HasSubstr("3 bytes of a broadcast 0->1 arrived altered"));
}

TEST(Broadcast, NoRankAllocatesWhateverAnotherSays) {
  EXPECT_THAT(refused_broadcast(
                  [](Transport& transport) { send_announcement(transport, 1, ~std::uint64_t{0}); }),
              HasSubstr("rank 0 announced 18446744073709551615 bytes, expected at most"));
}

TEST(Gather, MeetingABroadcastIsFound) {
  on_all_ranks(2, [](const BoundedWait& waits) {
    Transport& transport = waits.transport();
    if (transport.rank() == 1) {
      EXPECT_THROW(static_cast<void>(broadcast(waits, {})), Error);
      return;
    }
    send_announcement(transport, 0, 0);
  });
}

struct Replica {
  explicit Replica(std::size_t count)
      : sent_index(arena.reserve(count * sizeof(float))),
        received_index(arena.reserve(count * sizeof(float))),
        header(device, MessageBuffer::header_bytes, MemoryHome::host) {
    arena.seal(device);
  }
  void add(const BoundedWait& waits, int peer, std::span<float> values) const {
    waits.transport().device().reserve_marks(1);
    add_replica({.waits = waits,
                 .sent = arena.at(sent_index),
                 .received = arena.at(received_index),
                 .header = MessageBuffer(header.bytes()),
                 .mark = 0},
                peer, values);
  }
  CpuDevice device;
  MessageArena arena;
  std::size_t sent_index;
  std::size_t received_index;
  DeviceMemory header;
};

std::vector<float> random_values(std::uint32_t seed, std::size_t count) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> distribution(-1.0F, 1.0F);
  std::vector<float> values(count);
  for (float& value : values) {
    value = distribution(random);
  }
  return values;
}

TEST(AddReplica, BothEndsHaveTheSameSum) {
  constexpr std::size_t count = 1001;
  std::vector<float> expected = random_values(0, count);
  const std::vector<float> other = random_values(1, count);
  for (std::size_t k = 0; k < count; ++k) {
    expected[k] += other[k];
  }
  on_all_ranks(2, [&expected](const BoundedWait& waits) {
    const int rank = waits.transport().rank();
    std::vector<float> values = random_values(static_cast<std::uint32_t>(rank), count);
    waits.transport().status().publish(0, Activity::reducing_replicas, 3);
    Replica(count).add(waits, 1 - rank, values);
    EXPECT_EQ(values, expected);  // bit for bit
  });
}

TEST(AddReplica, OfDifferentStagesIsRefusedAndNamed) {
  on_all_ranks(2, [](const BoundedWait& waits) {
    const int rank = waits.transport().rank();
    std::vector<float> values(10);
    waits.transport().status().publish(0, Activity::reducing_replicas, rank);
    try {
      Replica(10).add(waits, 1 - rank, values);
      ADD_FAILURE() << "did not throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::transport);
      EXPECT_THAT(error.what(), HasSubstr("expected replica of stage " + std::to_string(rank)));
      EXPECT_THAT(error.what(), HasSubstr("received replica of stage " + std::to_string(1 - rank)));
    }
  });
}

}  // namespace
}  // namespace dualpipe
