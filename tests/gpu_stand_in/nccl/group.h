// What ncclGroupStart() and ncclGroupEnd() gather and let go. Each thread has one group at a time.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <nccl.h>

#include "tests/gpu_stand_in/nccl/communicator.h"

namespace stand_in {

class Group {
 public:
  // The calling thread's.
  [[nodiscard]] static Group& current();

  [[nodiscard]] bool is_open() const { return depth_ > 0; }
  void start() { ++depth_; }
  // Launches when this is the end of the outermost group. Returns what ncclGroupEnd() returns: the
  // first thing that was wrong with any operation; ncclInProgress where communicators do not block.
  ncclResult_t end();
  // Requires: is_open().
  ncclResult_t add(const std::shared_ptr<Communicator>& communicator, const Operation& operation);

 private:
  // What a communicator has to do in the group.
  struct Part {
    std::shared_ptr<Communicator> communicator;
    std::vector<Operation> operations;
  };

  static ncclResult_t launch(const std::vector<Part>& parts);

  int depth_ = 0;
  ncclResult_t error_ = ncclSuccess;
  std::vector<Part> parts_;
};

// Does `steps` for the host on behalf of these communicators, all of which block, or none: then by
// a thread of its own, while their state is ncclInProgress, which is also what is returned. The
// current device there is the first communicator's.
ncclResult_t do_work(const std::vector<std::shared_ptr<Communicator>>& communicators,
                     const std::function<ncclResult_t()>& steps);

}  // namespace stand_in
