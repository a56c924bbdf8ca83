// Run by mpirun: every rank runs every test, in step with the others; a failure on any of them
// fails the job. What ends a job before its time is in mpi_thread_test.cc.

#include "runtime/mpi_transport.h"

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "runtime/transport.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

// MPI starts once per process, so all tests share one transport. Small pieces, so that most
// messages of the checks travel in several.
class MpiTransport : public testing::TestWithParam<TransportCheck> {
 protected:
  static void SetUpTestSuite() { transport = make_mpi_transport({.piece_bytes_max = 4096}); }
  static void TearDownTestSuite() { transport.reset(); }

  static std::unique_ptr<Transport> transport;
};

std::unique_ptr<Transport> MpiTransport::transport;

TEST_P(MpiTransport, DoesWhatEveryTransportMust) {
  if (transport->ranks() < 2) {
    // ctest runs this program with 1, 2 and 4 processes. Every check of transport_checks sends from
    // one rank to another; what one process alone must do is in the tests below.
    GTEST_SKIP() << "needs two ranks";
  }
  EXPECT_EQ(transport->name(), "mpi");
  GetParam().run(*transport);
}

std::string name_of(const testing::TestParamInfo<TransportCheck>& tested) {
  return std::string(tested.param.name);
}

INSTANTIATE_TEST_SUITE_P(Checks, MpiTransport,
                         testing::ValuesIn(transport_checks().begin(), transport_checks().end()),
                         name_of);

// The environment of a process, changed for one test.
class Environment {
 public:
  Environment() {
    for (const char* const name : names) {
      const char* const value = ::getenv(name);
      before_.push_back(value == nullptr ? std::nullopt : std::optional<std::string>(value));
      ::unsetenv(name);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (std::size_t k = 0; k < before_.size(); ++k) {
      ::unsetenv(names[k]);
      if (const std::optional<std::string>& value = before_[k]; value.has_value()) {
        set(names[k], *value);
      }
    }
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }

 private:
  static constexpr std::array names{
      "OMPI_COMM_WORLD_SIZE", "PMI_RANK",      "PMIX_RANK",
      "SLURM_PROCID",         "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"};
  std::vector<std::optional<std::string>> before_;
};

TEST(StartedByMpiLauncher, ByTheMpirunThatRunsThisTest) {
  EXPECT_TRUE(started_by_mpi_launcher());
}

TEST(StartedByMpiLauncher, NotWithoutOne) {
  const Environment environment;
  EXPECT_FALSE(started_by_mpi_launcher());
}

TEST(StartedByMpiLauncher, ByThoseThatSayHowToFindThePeers) {
  for (const char* const name : {"OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    const Environment environment;
    Environment::set(name, "0");
    EXPECT_TRUE(started_by_mpi_launcher()) << name;
  }
}

TEST(StartedByMpiLauncher, BySrunOfSeveralTasksButNotInTheShellOfABatchJob) {
  const Environment environment;
  Environment::set("SLURM_PROCID", "0");
  EXPECT_FALSE(started_by_mpi_launcher()) << "sbatch";
  Environment::set("SLURM_STEP_ID", "4294967290");
  Environment::set("SLURM_STEP_NUM_TASKS", "1");
  EXPECT_FALSE(started_by_mpi_launcher()) << "salloc's interactive step";
  Environment::set("SLURM_STEP_ID", "0");
  Environment::set("SLURM_STEP_NUM_TASKS", "4");
  EXPECT_TRUE(started_by_mpi_launcher()) << "srun -n 4";
}

}  // namespace
}  // namespace dualpipe
