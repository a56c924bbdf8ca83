// Runs what every rank of a job does, each on a thread of its own, over the inproc transport.

#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/inproc_transport.h"
#include "runtime/transport.h"

namespace dualpipe {

struct RankFailure {
  ExitCode code = ExitCode::internal_error;
  std::string message;
};

// [rank]: the Error that `work(transport)` threw there, if any. `work` aborts where it must; one
// that throws anything but an Error fails the test.
template <typename Work>
std::vector<std::optional<RankFailure>> on_all_ranks(int ranks, const Work& work) {
  std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(ranks);
  std::vector<std::optional<RankFailure>> failures(transports.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < transports.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          work(*transports[rank]);
        } catch (const Error& error) {
          failures[rank] = RankFailure{.code = error.code(), .message = error.what()};
        } catch (const std::exception& error) {
          ADD_FAILURE() << "rank " << rank << " threw: " << error.what();
        }
      });
    }
  }
  return failures;
}

template <typename Work>
void expect_success_on_all_ranks(int ranks, const Work& work) {
  for (const std::optional<RankFailure>& failure : on_all_ranks(ranks, work)) {
    EXPECT_FALSE(failure) << failure->message;
  }
}

}  // namespace dualpipe
