#include "runtime/mpi_error.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// mpi_host_test.cc, in the same program, starts MPI.
TEST(MpiError, IsThrownWithWhatFailedAndInWhichWay) {
  require_mpi("MPI_Isend", MPI_SUCCESS);
  const std::string words = refusal(ExitCode::transport, [] {
    require_mpi("MPI_Isend", MPI_ERR_RANK);
    return true;
  });
  EXPECT_THAT(words, StartsWith("MPI_Isend: "));
  EXPECT_THAT(words, HasSubstr("invalid rank"));
}

}  // namespace
}  // namespace dualpipe
