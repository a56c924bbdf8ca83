// Run by mpirun; MPI starts once, for all tests of the program.

#include "runtime/mpi_host.h"

#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>
#include <mpi.h>

#include "runtime/host_seat.h"
#include "runtime/status.h"

namespace dualpipe {
namespace {

class Mpi : public testing::Environment {
 public:
  void SetUp() override { MPI_Init(nullptr, nullptr); }
  void TearDown() override { MPI_Finalize(); }
};

const testing::Environment* const mpi = testing::AddGlobalTestEnvironment(new Mpi);

TEST(MpiHost, EveryRankReadsTheStatusAndRingsTheBellOfEveryOther) {
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MpiHost host;
  host.open(MPI_COMM_WORLD);
  ASSERT_EQ(host.seats().size(), static_cast<std::size_t>(ranks));
  HostSeat& own = *host.seats()[static_cast<std::size_t>(rank)];
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&own) % alignof(HostSeat), 0U);
  own.status.publish(rank, Activity::running, 100 + rank);
  MPI_Barrier(MPI_COMM_WORLD);
  for (int other = 0; other < ranks; ++other) {
    HostSeat* const seat = host.seats()[static_cast<std::size_t>(other)];
    ASSERT_NE(seat, nullptr) << "mpirun starts all ranks of a test on this host";
    EXPECT_EQ(seat->status.read().step, other);
    EXPECT_EQ(seat->status.read().index, 100 + other);
    EXPECT_EQ(seat->status.read().past_count, 1);
    seat->bell.ring();
  }
  MPI_Barrier(MPI_COMM_WORLD);
  EXPECT_EQ(own.bell.rings(), static_cast<std::uint32_t>(ranks));
  MPI_Barrier(MPI_COMM_WORLD);
  host.close();
}

}  // namespace
}  // namespace dualpipe
