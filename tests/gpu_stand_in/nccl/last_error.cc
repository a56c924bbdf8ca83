#include "tests/gpu_stand_in/nccl/last_error.h"

#include <mutex>
#include <string>

namespace stand_in {
namespace {

struct LastError {
  std::mutex mutex;
  std::string why;
};

// Never destroyed: streams may be at work while the process ends.
LastError& last() {
  static LastError& error = *new LastError;
  return error;
}

}  // namespace

void set_last_error(const std::string& why) {
  const std::scoped_lock lock(last().mutex);
  last().why = why;
}

std::string last_error() {
  const std::scoped_lock lock(last().mutex);
  return last().why;
}

}  // namespace stand_in
