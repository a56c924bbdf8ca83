#include "runtime/train_on_threads.h"

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/job_end.h"
#include "runtime/train.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

template <typename Work>
std::jthread start_thread(const Work& work, int rank) {
  try {
    return std::jthread(work);
  } catch (const std::system_error& error) {
    throw Error(ExitCode::infeasible,
                fmt::format("no thread for rank {}: {}; train with fewer ranks, or with processes",
                            rank, error.code().message()));
  }
}

}  // namespace

TrainReport train_on_threads(std::span<const std::unique_ptr<Transport>> transports,
                             const std::function<TrainReport(Transport&)>& train_rank) {
  std::mutex mutex;
  std::exception_ptr first_error;
  TrainReport report;
  // Within a catch. The others hear of it only when it is the first.
  const auto fail = [&](Transport& transport) {
    {
      const std::scoped_lock lock(mutex);
      first_error = first_error ? first_error : std::current_exception();
    }
    abort_with_current_exception(transport);
  };
  {
    std::vector<std::jthread> threads;
    for (const std::unique_ptr<Transport>& transport : transports) {
      const auto be_rank = [&] {
        try {
          TrainReport own = train_rank(*transport);
          if (transport->rank() == 0) {
            report = std::move(own);
          }
        } catch (...) {
          fail(*transport);
        }
      };
      try {
        threads.emplace_back(start_thread(be_rank, transport->rank()));
      } catch (...) {
        fail(*transport);
        break;
      }
    }
  }
  if (first_error) {
    std::rethrow_exception(first_error);
  }
  return report;
}

}  // namespace dualpipe
