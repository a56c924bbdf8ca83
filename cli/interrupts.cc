#include "cli/interrupts.h"

#include <atomic>
#include <csignal>

#include "costs/check.h"

namespace dualpipe {
namespace {

// NOLINTBEGIN(misc-include-cleaner): <csignal> has them, through headers that are not for inclusion

// A signal's handler is given nothing but its number, so this is the one thing that cannot be
// passed. To block the signals and ask for them would need no handler, but libraries start threads
// of their own, which do not block them, before main().
std::atomic<bool> noted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void note(int /*signal*/) {
  noted = true;
}

// What was ignored before, as SIGINT is by a shell's background jobs, goes on being ignored.
void watch(int signal, struct sigaction& before) {
  struct sigaction action{};
  action.sa_handler = note;
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  CHECK(sigaction(signal, &action, &before) == 0);
  if (before.sa_handler == SIG_IGN) {
    CHECK(sigaction(signal, &before, nullptr) == 0);
  }
}

void restore(int signal, const struct sigaction& before) {
  CHECK(sigaction(signal, &before, nullptr) == 0);
}
// NOLINTEND(misc-include-cleaner)

}  // namespace

Interrupts::Interrupts() {
  noted = false;
  watch(SIGINT, interrupt_before_);
  watch(SIGTERM, terminate_before_);
}

Interrupts::~Interrupts() {
  restore(SIGINT, interrupt_before_);
  restore(SIGTERM, terminate_before_);
}

bool Interrupts::requested() const {
  return noted;
}

}  // namespace dualpipe
