#include "runtime/exit_guard.h"

#include <functional>
#include <mutex>
#include <utility>

#include <stdlib.h>

#include "costs/check.h"

namespace dualpipe {
namespace {

// An exit handler is given no object of ours, and cannot be taken back: it asks the thread that it
// runs on, which is the one that called exit().
thread_local const ExitGuard* guard_of_this_thread = nullptr;

void ask_the_guard(int status, void* /*unused*/) {
  if (const ExitGuard* const guard = std::exchange(guard_of_this_thread, nullptr)) {
    guard->run(status);
  }
}

}  // namespace

ExitGuard::ExitGuard(std::function<void(int status)> at_exit) : at_exit_(std::move(at_exit)) {
  static std::once_flag registered;
  std::call_once(registered, [] { CHECK(::on_exit(ask_the_guard, nullptr) == 0); });
  CHECK(guard_of_this_thread == nullptr);
  guard_of_this_thread = this;
}

ExitGuard::~ExitGuard() {
  guard_of_this_thread = nullptr;
}

}  // namespace dualpipe
