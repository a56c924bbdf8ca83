#include "sim/communicators.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

Communicators::Communicators(const Program& program)
    : program_(program), started_(program.messages().size(), 0) {
  std::map<std::tuple<int, int, int>, std::int32_t> numbers;  // rank, communicator
  const auto queue_of = [&](int rank, const std::pair<int, int>& communicator) {
    return numbers
        .try_emplace({rank, communicator.first, communicator.second},
                     static_cast<std::int32_t>(numbers.size()))
        .first->second;
  };
  for (const Channel& channel : program.channels()) {
    const std::pair<int, int> communicator = communicator_of(
        channel, static_cast<std::int32_t>(ends_.size()), program.semantics().topology);
    const std::int32_t source = queue_of(channel.source, communicator);
    ends_.push_back({.source = source, .destination = queue_of(channel.destination, communicator)});
  }
  queues_.resize(numbers.size());
}

const Communicators::Ends& Communicators::ends_of(std::int32_t message) const {
  return ends_[at(program_.message(message).channel)];
}

void Communicators::post(std::int32_t message, bool is_send, std::int32_t group,
                         std::vector<std::int32_t>& ready) {
  const Ends& ends = ends_of(message);
  Queue& queue = queues_[at(is_send ? ends.source : ends.destination)];
  queue.entries.push_back({.message = message, .group = group});
  start_front(queue, ready);
}

// Starts what belongs to the group under way, or to the first one where none is.
void Communicators::start_front(Queue& queue, std::vector<std::int32_t>& ready) {
  while (queue.started < queue.entries.size() &&
         (queue.unfinished == 0 ||
          queue.entries[queue.started].group == queue.entries[queue.started - 1].group)) {
    const std::int32_t message = queue.entries[queue.started].message;
    ++queue.started;
    ++queue.unfinished;
    if (++started_[at(message)] == 2) {
      ready.push_back(message);
    }
  }
}

void Communicators::finish(std::int32_t message, std::vector<std::int32_t>& ready) {
  const Ends& ends = ends_of(message);
  leave(queues_[at(ends.source)], ready);
  leave(queues_[at(ends.destination)], ready);
}

void Communicators::leave(Queue& queue, std::vector<std::int32_t>& ready) {
  CHECK(queue.unfinished > 0);
  --queue.unfinished;
  if (queue.unfinished > 0) {
    return;
  }
  if (queue.started == queue.entries.size()) {
    queue.entries.clear();
    queue.started = 0;
  }
  start_front(queue, ready);
}

}  // namespace dualpipe
