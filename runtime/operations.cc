#include "runtime/operations.h"

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/transport.h"

namespace dualpipe {

Operations::Operations() : operations_(outstanding_max) {
  free_places_.reserve(outstanding_max);
  for (std::size_t place = outstanding_max; place-- > 0;) {
    operations_[place].ticket = place;
    free_places_.push_back(place);
  }
}

Ticket Operations::open() {
  const std::scoped_lock lock(mutex_);
  if (closed_) {
    throw Error(closed_->code, closed_->reason);
  }
  CHECK(!free_places_.empty());
  Operation& operation = operations_[free_places_.back()];
  free_places_.pop_back();
  operation.ticket += outstanding_max;
  operation.state = Operation::State::under_way;
  return operation.ticket;
}

void Operations::check() const {
  const std::scoped_lock lock(mutex_);
  if (closed_) {
    throw Error(closed_->code, closed_->reason);
  }
}

bool Operations::wait(Ticket ticket, Deadline deadline) {
  Operation& operation = operations_[place(ticket)];
  std::unique_lock lock(mutex_);
  CHECK(operation.ticket == ticket && operation.state != Operation::State::free);
  awaited_ = ticket;
  const bool settled = settled_.wait_until(
      lock, deadline, [&] { return closed_ || operation.state != Operation::State::under_way; });
  awaited_.reset();
  if (closed_) {
    throw Error(closed_->code, closed_->reason);
  }
  if (!settled) {
    return false;
  }
  const bool failed = operation.state == Operation::State::failed;
  operation.state = Operation::State::free;
  free_places_.push_back(place(ticket));
  if (failed) {
    throw OperationFailure(std::exchange(operation.failure, {}));
  }
  return true;
}

void Operations::settle(Ticket ticket, Operation::State state, const std::string& failure) {
  Operation& operation = operations_[place(ticket)];
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    CHECK(operation.ticket == ticket && operation.state == Operation::State::under_way);
    operation.state = state;
    operation.failure = failure;
    wake = awaited_ == ticket;
  }
  // A rank that sleeps for another ticket is left asleep: each needless wake costs microseconds.
  if (wake) {
    settled_.notify_one();
  }
}

void Operations::finish(Ticket ticket) {
  settle(ticket, Operation::State::done, {});
}

void Operations::fail(Ticket ticket, const std::string& reason) {
  settle(ticket, Operation::State::failed, reason);
}

void Operations::close(ExitCode code, const std::string& reason) {
  {
    const std::scoped_lock lock(mutex_);
    if (!closed_) {
      closed_ = Closed{.code = code, .reason = reason};
    }
  }
  settled_.notify_one();
}

std::size_t Operations::outstanding() const {
  const std::scoped_lock lock(mutex_);
  return outstanding_max - free_places_.size();
}

}  // namespace dualpipe
