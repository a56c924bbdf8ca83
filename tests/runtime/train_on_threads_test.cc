#include "runtime/train_on_threads.h"

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "costs/error.h"
#include "runtime/inproc_transport.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

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

// So its work may fail where it has not come to train(), which would see to that.
TEST(TrainOnThreads, AnErrorOfOneRankEndsTheOthers) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(3);
  const auto work = [](Transport& transport) -> TrainReport {
    if (transport.rank() == 1) {
      throw std::runtime_error("no model for rank 1");
    }
    std::vector<std::byte> buffer(8);
    const Ticket ticket = transport.post_receive(1, MessageClass::control, buffer);
    EXPECT_TRUE(transport.wait(ticket, generous_deadline())) << "nobody has ended the job";
    return {};
  };
  EXPECT_THROW(static_cast<void>(train_on_threads(transports, work)), std::runtime_error);
  EXPECT_THAT(refusal(ExitCode::internal_error,
                      [&] {
                        transports[0]->check();
                        return 0;
                      }),
              HasSubstr("no model for rank 1"));
}

// While it lives, threads ask for stacks that no machine has.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t greedy = before_;
    pthread_attr_setstacksize(&greedy, std::size_t{1} << 60);
    EXPECT_EQ(pthread_setattr_default_np(&greedy), 0);
  }
  ~NoMoreThreads() {
    EXPECT_EQ(pthread_setattr_default_np(&before_), 0);
    pthread_attr_destroy(&before_);
  }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;

 private:
  pthread_attr_t before_{};
};

TEST(TrainOnThreads, WhereTheSystemGivesNoThreadsTheJobEnds) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(2);
  const NoMoreThreads none;
  const auto attempt = [&] {
    return train_on_threads(transports, [](Transport&) { return TrainReport{}; }).loss;
  };
  EXPECT_THAT(refusal(ExitCode::infeasible, attempt), HasSubstr("no thread for rank 0: "));
  EXPECT_THAT(refusal(ExitCode::infeasible,
                      [&] {
                        transports[1]->check();
                        return 0;
                      }),
              HasSubstr("no thread for rank 0: "));
}

}  // namespace
}  // namespace dualpipe
