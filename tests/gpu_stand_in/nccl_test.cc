// The rules that NVIDIA's documentation gives for NCCL's point-to-point calls, each seen to hold:
// above all what hangs. The ranks are threads here, with a device each; nccl_processes_test.cc has
// processes.

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include "tests/gpu_stand_in/rank.h"

namespace stand_in {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr std::size_t small = 1;
// More than fits into any buffer between two ranks.
constexpr std::size_t large = 20'000;

// Calls work(rank) for ranks that have joined `communicators` communicators.
template <typename Work>
void on_ranks(int ranks, std::size_t communicators, const Work& work) {
  const std::vector<ncclUniqueId> ids = unique_ids(communicators);
  std::vector<std::jthread> threads;
  for (int number = 0; number < ranks; ++number) {
    threads.emplace_back([&, number] {
      try {
        Rank rank(number, ranks, number);
        for (const ncclUniqueId& id : ids) {
          rank.join(id);
        }
        work(rank);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << number << ": " << error.what();
      }
    });
  }
}

// Sends this rank's number to the other of two, and takes the other's, for every way.
struct Exchange {
  float* from;
  float* to;
  int peer;

  Exchange(Rank& rank, std::size_t floats)
      : from(rank.memory(floats, static_cast<float>(rank.number()))),
        to(rank.memory(floats, -1.0F)),
        peer(1 - rank.number()) {}
};

// Over two communicators: 0 carries what rank 0 sends.
void exchange_over_two(Rank& rank, std::size_t floats, std::size_t receiving_stream) {
  rank.connect(1 - rank.number(), 0);
  rank.connect(1 - rank.number(), 1);
  const Exchange exchange(rank, floats);
  const auto outgoing = static_cast<std::size_t>(rank.number());
  rank.send(exchange.from, floats, exchange.peer, {.communicator = outgoing});
  rank.settle(outgoing);
  rank.receive(exchange.to, floats, exchange.peer,
               {.communicator = 1 - outgoing, .stream = receiving_stream});
  rank.settle(1 - outgoing);
  if (receiving_stream == 0) {
    EXPECT_TRUE(rank.hangs());
  } else {
    EXPECT_TRUE(rank.finishes());
    EXPECT_THAT(rank.values(exchange.to, floats), Each(static_cast<float>(exchange.peer)));
  }
}

TEST(NcclStandIn, IsWhatThisTestRunsOn) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0));
  EXPECT_STREQ(properties.name, "host stand-in");
  int version = 0;
  check(ncclGetVersion(&version));
  EXPECT_EQ(version, NCCL_VERSION_CODE);
}

TEST(NcclStandIn, SendingThenReceivingOnOneStreamHangsOnBothRanks) {
  for (const std::size_t floats : {small, large}) {
    on_ranks(2, 1, [&](Rank& rank) {
      rank.connect(1 - rank.number());
      const Exchange exchange(rank, floats);
      rank.send(exchange.from, floats, exchange.peer, {});
      rank.settle();
      rank.receive(exchange.to, floats, exchange.peer, {});
      rank.settle();
      EXPECT_TRUE(rank.hangs()) << floats << " floats";
    });
  }
}

TEST(NcclStandIn, OneCommunicatorHangsOnTwoStreamsToo) {
  on_ranks(2, 1, [](Rank& rank) {
    rank.connect(1 - rank.number());
    const Exchange exchange(rank, small);
    rank.send(exchange.from, small, exchange.peer, {.stream = 0});
    rank.settle();
    rank.receive(exchange.to, small, exchange.peer, {.stream = 1});
    rank.settle();
    EXPECT_TRUE(rank.hangs());
  });
}

TEST(NcclStandIn, TwoCommunicatorsOnTwoStreamsWork) {
  on_ranks(2, 2, [](Rank& rank) { exchange_over_two(rank, large, 1); });
}

TEST(NcclStandIn, TwoCommunicatorsHangOnOneStream) {
  on_ranks(2, 2, [](Rank& rank) { exchange_over_two(rank, small, 0); });
}

TEST(NcclStandIn, AGroupOfBothWorks) {
  on_ranks(2, 1, [](Rank& rank) {
    const Exchange exchange(rank, large);
    check(ncclGroupStart());
    rank.send(exchange.from, large, exchange.peer, {});
    rank.receive(exchange.to, large, exchange.peer, {});
    check(ncclGroupEnd());
    rank.settle();
    EXPECT_TRUE(rank.finishes());
    EXPECT_THAT(rank.values(exchange.to, large), Each(static_cast<float>(exchange.peer)));
  });
}

TEST(NcclStandIn, OppositeOrdersWork) {
  on_ranks(2, 1, [](Rank& rank) {
    const Exchange exchange(rank, large);
    for (const bool sends : {rank.number() == 0, rank.number() == 1}) {
      if (sends) {
        rank.send(exchange.from, large, exchange.peer, {});
      } else {
        rank.receive(exchange.to, large, exchange.peer, {});
      }
      rank.settle();
    }
    EXPECT_TRUE(rank.finishes());
    EXPECT_THAT(rank.values(exchange.to, large), Each(static_cast<float>(exchange.peer)));
  });
}

TEST(NcclStandIn, MessageKMeetsReceiveKWhateverItsStream) {
  on_ranks(2, 1, [](Rank& rank) {
    constexpr int messages = 6;
    std::vector<float*> memory;
    for (int message = 0; message < messages; ++message) {
      const float value = rank.number() == 0 ? static_cast<float>(message) : -1.0F;
      memory.push_back(rank.memory(large, value));
      const Rank::Way way{.stream = static_cast<std::size_t>(message % 2)};
      if (rank.number() == 0) {
        rank.send(memory.back(), large, 1, way);
      } else {
        rank.receive(memory.back(), large, 0, way);
      }
      rank.settle();
    }
    for (int message = 0; message < messages; ++message) {
      EXPECT_THAT(rank.values(memory[static_cast<std::size_t>(message)], large),
                  Each(static_cast<float>(message)));
    }
  });
}

TEST(NcclStandIn, SeveralMessagesOfAGroupToOneRankKeepTheirOrder) {
  on_ranks(2, 1, [](Rank& rank) {
    std::vector<float*> memory;
    check(ncclGroupStart());
    for (const float value : {1.0F, 2.0F, 3.0F}) {
      memory.push_back(rank.memory(large, rank.number() == 0 ? value : -1.0F));
      if (rank.number() == 0) {
        rank.send(memory.back(), large, 1, {});
      } else {
        rank.receive(memory.back(), large, 0, {});
      }
    }
    check(ncclGroupEnd());
    rank.settle();
    EXPECT_THAT(rank.values(memory[0], large), Each(1.0F));
    EXPECT_THAT(rank.values(memory[1], large), Each(2.0F));
    EXPECT_THAT(rank.values(memory[2], large), Each(3.0F));
  });
}

// The receiver may be at the next message while the sender has yet to see that this one is there.
TEST(NcclStandIn, MessagesOfOtherSizesFollowEachOther) {
  on_ranks(2, 1, [](Rank& rank) {
    constexpr std::size_t messages = 100;
    float* const memory = rank.memory(2, 1.0F);
    rank.connect(1 - rank.number());
    for (std::size_t message = 0; message < messages; ++message) {
      const std::size_t floats = 1 + message % 2;
      if (rank.number() == 0) {
        rank.send(memory, floats, 1, {});
      } else {
        rank.receive(memory, floats, 0, {});
      }
      rank.settle();
    }
    EXPECT_TRUE(rank.finishes());
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(rank.communicator(), &state));
    EXPECT_EQ(state, ncclSuccess) << ncclGetLastError(rank.communicator());
  });
}

TEST(NcclStandIn, ASendIsNotDoneBeforeItsReceiveRuns) {
  std::barrier both(2);
  on_ranks(2, 1, [&](Rank& rank) {
    rank.connect(1 - rank.number());
    float* const memory = rank.memory(small);
    if (rank.number() == 0) {
      rank.send(memory, small, 1, {});
      rank.settle();
      EXPECT_TRUE(rank.hangs());
      both.arrive_and_wait();
    } else {
      both.arrive_and_wait();
      rank.receive(memory, small, 0, {});
      rank.settle();
    }
    EXPECT_TRUE(rank.finishes());
  });
}

TEST(NcclStandIn, TheFirstUseOfAPeerWaitsOnTheHostForTheOtherSide) {
  std::barrier both(2);
  on_ranks(2, 1, [&](Rank& rank) {
    float* const memory = rank.memory(small);
    if (rank.number() == 0) {
      rank.send(memory, small, 1, {});
      EXPECT_EQ(Rank::settled(rank.communicator(), long_enough), ncclInProgress);
      // The stream has nothing in it yet.
      EXPECT_EQ(cudaStreamQuery(rank.stream()), cudaSuccess);
      EXPECT_EQ(ncclSend(memory, small, ncclFloat32, 1, rank.communicator(), rank.stream()),
                ncclInvalidArgument);
      both.arrive_and_wait();
    } else {
      both.arrive_and_wait();
      rank.receive(memory, small, 0, {});
    }
    rank.settle();
    EXPECT_TRUE(rank.finishes());
  });
}

TEST(NcclStandIn, AbortEndsWhatHangs) {
  on_ranks(2, 1, [](Rank& rank) {
    rank.connect(1 - rank.number());
    const Exchange exchange(rank, small);
    rank.send(exchange.from, small, exchange.peer, {});
    rank.settle();
    rank.receive(exchange.to, small, exchange.peer, {});
    rank.settle();
    EXPECT_TRUE(rank.hangs());
    EXPECT_EQ(ncclCommAbort(rank.communicator()), ncclSuccess);
    EXPECT_TRUE(rank.finishes());
    ncclResult_t state = ncclSuccess;
    EXPECT_EQ(ncclCommGetAsyncError(rank.communicator(), &state), ncclInvalidArgument);
    rank.forget_communicators();
  });
}

TEST(NcclStandIn, AbortEndsAWaitForTheOtherSideOnTheHost) {
  on_ranks(2, 1, [](Rank& rank) {
    if (rank.number() == 0) {
      rank.send(rank.memory(small), small, 1, {});
      EXPECT_EQ(Rank::settled(rank.communicator(), long_enough), ncclInProgress);
    }
    EXPECT_EQ(ncclCommAbort(rank.communicator()), ncclSuccess);
    rank.forget_communicators();
  });
}

TEST(NcclStandIn, AbortWaitsForWhatStandsBeforeItsLaunchInTheStream) {
  on_ranks(2, 2, [](Rank& rank) {
    rank.connect(1 - rank.number(), 0);
    rank.connect(1 - rank.number(), 1);
    float* const memory = rank.memory(small);
    for (const std::size_t communicator : {std::size_t{0}, std::size_t{1}}) {
      rank.receive(memory, small, 1 - rank.number(), {.communicator = communicator});
      rank.settle(communicator);
    }
    std::atomic<bool> aborted = false;
    std::jthread aborter([&] {
      ncclCommAbort(rank.communicator(1));
      aborted = true;
    });
    EXPECT_FALSE(comes_true([&] { return aborted.load(); }, long_enough));
    ncclCommRevoke(rank.communicator(0), NCCL_REVOKE_DEFAULT);
    EXPECT_TRUE(comes_true([&] { return aborted.load(); }));
  });
}

TEST(NcclStandIn, RevokingEndsWhatHangsAndLetsNothingFollow) {
  on_ranks(2, 1, [](Rank& rank) {
    rank.connect(1 - rank.number());
    float* const memory = rank.memory(small);
    rank.receive(memory, small, 1 - rank.number(), {});
    rank.settle();
    EXPECT_EQ(ncclCommRevoke(rank.communicator(), NCCL_REVOKE_DEFAULT), ncclInProgress);
    EXPECT_TRUE(rank.finishes());
    rank.settle();
    EXPECT_EQ(
        ncclRecv(memory, small, ncclFloat32, 1 - rank.number(), rank.communicator(), rank.stream()),
        ncclInvalidUsage);
    EXPECT_EQ(ncclCommFinalize(rank.communicator()), ncclInvalidUsage);
  });
}

TEST(NcclStandIn, DestroyingWaitsUntilAllRanksDestroy) {
  std::atomic<bool> destroyed = false;
  on_ranks(2, 1, [&](Rank& rank) {
    check(ncclCommFinalize(rank.communicator()));
    rank.settle();
    if (rank.number() == 0) {
      check(ncclCommDestroy(rank.communicator()));
      destroyed = true;
    } else {
      EXPECT_FALSE(comes_true([&] { return destroyed.load(); }, long_enough));
      check(ncclCommDestroy(rank.communicator()));
      EXPECT_TRUE(comes_true([&] { return destroyed.load(); }));
    }
    rank.forget_communicators();
  });
}

TEST(NcclStandIn, SizesThatDifferAreToldToBothRanks) {
  on_ranks(2, 1, [](Rank& rank) {
    float* const memory = rank.memory(2);
    if (rank.number() == 0) {
      rank.send(memory, 1, 1, {});
    } else {
      rank.receive(memory, 2, 0, {});
    }
    EXPECT_TRUE(rank.finishes());
    EXPECT_TRUE(comes_true([&] {
      ncclResult_t state = ncclSuccess;
      check(ncclCommGetAsyncError(rank.communicator(), &state));
      return state == ncclInvalidUsage;
    }));
    EXPECT_THAT(ncclGetLastError(rank.communicator()),
                HasSubstr(rank.number() == 0 ? "send of 4 bytes to rank 1 meets a receive of 8"
                                             : "receive of 8 bytes from rank 0 meets a send of 4"));
  });
}

TEST(NcclStandIn, MemoryThatTheDeviceCannotReachIsRefused) {
  on_ranks(2, 1, [](Rank& rank) {
    rank.connect(1 - rank.number());
    if (rank.number() == 0) {
      const std::vector<float> on_host(small);
      rank.send(on_host.data(), small, 1, {});
      EXPECT_EQ(Rank::settled(rank.communicator()), ncclInvalidArgument);
      EXPECT_THAT(ncclGetLastError(rank.communicator()), HasSubstr("not all within reach"));
    }
  });
}

TEST(NcclStandIn, EveryRankOfManyMaySendToEveryOtherInOneGroup) {
  constexpr int ranks = 8;
  on_ranks(ranks, 1, [](Rank& rank) {
    std::vector<float*> received(ranks, nullptr);
    check(ncclGroupStart());
    for (int peer = 0; peer < ranks; ++peer) {
      if (peer != rank.number()) {
        received[static_cast<std::size_t>(peer)] = rank.memory(large, -1.0F);
        rank.receive(received[static_cast<std::size_t>(peer)], large, peer, {});
        rank.send(rank.memory(large, static_cast<float>(10 * rank.number() + peer)), large, peer,
                  {});
      }
    }
    check(ncclGroupEnd());
    rank.settle();
    EXPECT_TRUE(rank.finishes());
    for (int peer = 0; peer < ranks; ++peer) {
      if (peer != rank.number()) {
        EXPECT_THAT(rank.values(received[static_cast<std::size_t>(peer)], large),
                    Each(static_cast<float>(10 * peer + rank.number())));
      }
    }
  });
}

TEST(NcclStandIn, ABlockingCommunicatorBlocksTheCaller) {
  const std::vector<ncclUniqueId> ids = unique_ids(1);
  std::vector<std::jthread> threads;
  for (int number = 0; number < 2; ++number) {
    threads.emplace_back([&, number] {
      Rank rank(number, 2, number);
      ncclComm_t communicator = nullptr;
      EXPECT_EQ(ncclCommInitRank(&communicator, 2, ids[0], number), ncclSuccess);
      float* const memory = rank.memory(small, 7.0F);
      EXPECT_EQ(number == 0 ? ncclSend(memory, small, ncclFloat32, 1, communicator, rank.stream())
                            : ncclRecv(memory, small, ncclFloat32, 0, communicator, rank.stream()),
                ncclSuccess);
      EXPECT_TRUE(rank.finishes());
      EXPECT_EQ(ncclCommDestroy(communicator), ncclSuccess);
    });
  }
}

TEST(NcclStandIn, TwoRanksOnOneDeviceAreRefused) {
  const std::vector<ncclUniqueId> ids = unique_ids(1);
  std::vector<std::jthread> threads;
  for (int number = 0; number < 2; ++number) {
    threads.emplace_back([&, number] {
      Rank rank(number, 2, 0);
      EXPECT_EQ(rank.try_join(ids[0]), ncclInvalidUsage);
      EXPECT_THAT(ncclGetLastError(rank.communicator()),
                  HasSubstr("Duplicate GPU detected : rank 0 and rank 1 both on CUDA device"));
    });
  }
}

TEST(NcclStandIn, AnIdServesOneCommunicator) {
  const std::vector<ncclUniqueId> ids = unique_ids(1);
  Rank rank(0, 1, 0);
  rank.join(ids[0]);
  ncclComm_t another = nullptr;
  EXPECT_EQ(ncclCommInitRank(&another, 1, ids[0], 0), ncclSystemError);
  EXPECT_EQ(ncclCommInitRank(&another, 1, ncclUniqueId{}, 0), ncclSystemError);
  EXPECT_EQ(ncclCommInitRank(&another, 1, ids[0], 1), ncclInvalidArgument);
}

}  // namespace
}  // namespace stand_in
