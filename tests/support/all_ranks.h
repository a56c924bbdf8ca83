// Runs what every rank of a job does, each on a thread of its own, over the inproc transport.

#pragma once

#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/inproc_transport.h"
#include "runtime/transport.h"

namespace dualpipe {

// What a rank came to: ok, or the Error it threw.
struct RankEnd {
  ExitCode code = ExitCode::ok;
  std::string message;
};

// [rank]: how `work(transport)` ended there. `work` aborts where it must; one that throws anything
// but an Error fails the test.
template <typename Work>
std::vector<RankEnd> on_all_ranks(int ranks, const Work& work) {
  std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(ranks);
  std::vector<RankEnd> ends(transports.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < transports.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          work(*transports[rank]);
        } catch (const Error& error) {
          ends[rank] = {.code = error.code(), .message = error.what()};
        } catch (const std::exception& error) {
          ADD_FAILURE() << "rank " << rank << " threw: " << error.what();
        }
      });
    }
  }
  return ends;
}

template <typename Work>
void expect_success_on_all_ranks(int ranks, const Work& work) {
  for (const RankEnd& end : on_all_ranks(ranks, work)) {
    EXPECT_EQ(end.code, ExitCode::ok) << end.message;
  }
}

}  // namespace dualpipe
