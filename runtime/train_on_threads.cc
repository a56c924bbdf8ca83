#include "runtime/train_on_threads.h"

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/train.h"
#include "runtime/transport.h"

namespace dualpipe {

TrainReport train_on_threads(std::span<const std::unique_ptr<Transport>> transports,
                             const std::function<TrainReport(Transport&)>& train_rank) {
  std::mutex mutex;
  std::exception_ptr first_error;
  TrainReport report;
  {
    std::vector<std::jthread> threads;
    for (const std::unique_ptr<Transport>& transport : transports) {
      threads.emplace_back([&] {
        try {
          TrainReport own = train_rank(*transport);
          if (transport->rank() == 0) {
            report = std::move(own);
          }
        } catch (...) {
          const std::scoped_lock lock(mutex);
          first_error = first_error ? first_error : std::current_exception();
        }
      });
    }
  }
  if (first_error) {
    std::rethrow_exception(first_error);
  }
  return report;
}

}  // namespace dualpipe
