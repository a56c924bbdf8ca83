#include "runtime/train_on_threads.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/inproc_transport.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TrainOnThreads, ReturnsTheReportOfTheFirstRank) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(3);
  const TrainReport report = train_on_threads(transports, [](Transport& transport) {
    TrainReport own;
    own.loss = {static_cast<double>(transport.rank()) + 0.5};
    return own;
  });
  EXPECT_THAT(report.loss, ElementsAre(0.5));
}

TEST(TrainOnThreads, ThrowsTheFirstErrorWhenAllHaveEnded) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(3);
  const auto work = [](Transport& transport) -> TrainReport {
    if (transport.rank() == 2) {
      transport.abort(ExitCode::callback, "rank 2 has had enough");
      throw Error(ExitCode::callback, "rank 2 has had enough");
    }
    for (;;) {
      transport.check();  // until the abort comes
    }
  };
  EXPECT_THAT(refusal(ExitCode::callback, [&] { return train_on_threads(transports, work).loss; }),
              HasSubstr("had enough"));
}

}  // namespace
}  // namespace dualpipe
