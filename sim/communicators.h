// Communicators: which transfers may begin, where both ends must have posted them. The rules are
// those by which compile() proves programs (scheduler/play.h), for a clock: on every rank a
// communicator runs one group of operations after another, and a transfer begins when its send and
// its receive have both come to the front.
//
// Not installed: simulate_events() is the way in.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/program.h"

namespace dualpipe {

class Communicators {
 public:
  // `program` must outlive this.
  explicit Communicators(const Program& program);

  // A rank posts one end of a message, as part of its group of that number. Operations without a
  // group are each given a number of their own. Adds to `ready` the transfers that may now begin.
  void post(std::int32_t message, bool is_send, std::int32_t group,
            std::vector<std::int32_t>& ready);
  // A transfer is done, at both ends. Adds to `ready` likewise.
  void finish(std::int32_t message, std::vector<std::int32_t>& ready);

 private:
  // What one rank has posted on one communicator.
  struct Queue {
    struct Entry {
      std::int32_t message = 0;
      std::int32_t group = 0;
    };
    std::vector<Entry> entries;  // since it was empty
    std::size_t started = 0;     // of them; the last ones so counted are the group under way
    std::size_t unfinished = 0;  // of the group under way
  };
  struct Ends {  // of a channel: queues
    std::int32_t source = 0;
    std::int32_t destination = 0;
  };

  [[nodiscard]] const Ends& ends_of(std::int32_t message) const;
  void start_front(Queue& queue, std::vector<std::int32_t>& ready);
  void leave(Queue& queue, std::vector<std::int32_t>& ready);

  const Program& program_;
  std::vector<Ends> ends_;  // [channel]
  std::vector<Queue> queues_;
  std::vector<std::uint8_t> started_;  // [message]: how many of its two ends
};

}  // namespace dualpipe
