#include "runtime/operations.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

Operations::Operations() : operations_(outstanding_max) {
  free_places_.reserve(outstanding_max);
  for (std::size_t place = outstanding_max; place-- > 0;) {
    operations_[place].ticket = place;
    free_places_.push_back(place);
  }
}

Ticket Operations::open() {
  check();
  CHECK(!free_places_.empty());
  Operation& operation = operations_[free_places_.back()];
  free_places_.pop_back();
  operation.ticket += outstanding_max;
  operation.state.store(State::under_way);
  return operation.ticket;
}

void Operations::check() const {
  if (is_closed_.load()) {
    throw Error(closed_.code, closed_.reason);
  }
}

bool Operations::wait(Ticket ticket, Deadline deadline) {
  Operation& operation = operations_[place(ticket)];
  CHECK(operation.ticket == ticket && operation.state.load() != State::free);
  const bool settled = await(operation, deadline);
  check();
  if (!settled) {
    return false;
  }
  const bool failed = operation.state.load() == State::failed;
  operation.state.store(State::free);
  free_places_.push_back(place(ticket));
  if (failed) {
    throw OperationFailure(std::exchange(operation.failure, {}));
  }
  return true;
}

// True once the operation is settled, or all are closed; false when the deadline passes first.
bool Operations::await(const Operation& operation, Deadline deadline) {
  const auto is_over = [&] {
    return operation.state.load() != State::under_way || is_closed_.load();
  };
  if (is_over()) {
    return true;
  }
  Clock::time_point now = Clock::now();
  for (const Clock::time_point limit = std::min(deadline, now + patience_); now < limit;
       now = Clock::now()) {
    if (is_over()) {
      return true;
    }
  }
  // Whoever settles the operation from here on rings; what was settled before is seen below.
  awaited_.store(operation.ticket);
  for (std::uint32_t rings = bell_.rings(); !is_over(); rings = bell_.rings()) {
    now = Clock::now();
    if (now >= deadline) {
      awaited_.store(nothing);
      return is_over();
    }
    bell_.sleep(rings, std::chrono::ceil<std::chrono::microseconds>(deadline - now));
  }
  awaited_.store(nothing);
  return true;
}

void Operations::settle(Ticket ticket, State state, const std::string& failure) {
  Operation& operation = operations_[place(ticket)];
  CHECK(operation.ticket == ticket && operation.state.load() == State::under_way);
  operation.failure = failure;
  operation.state.store(state);
  // A rank that sleeps for another ticket is left asleep: each needless wake costs microseconds.
  if (awaited_.load() == ticket) {
    bell_.ring();
  }
}

void Operations::finish(Ticket ticket) {
  settle(ticket, State::done, {});
}

void Operations::fail(Ticket ticket, const std::string& reason) {
  settle(ticket, State::failed, reason);
}

void Operations::close(ExitCode code, const std::string& reason) {
  {
    const std::scoped_lock lock(closing_);
    if (is_closed_.load()) {
      return;
    }
    closed_ = Closed{.code = code, .reason = reason};
    is_closed_.store(true);
  }
  bell_.ring();
}

}  // namespace dualpipe
