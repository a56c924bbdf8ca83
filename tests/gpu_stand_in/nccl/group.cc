#include "tests/gpu_stand_in/nccl/group.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "tests/gpu_stand_in/nccl/communicator.h"

namespace stand_in {

ncclResult_t do_work(const std::vector<std::shared_ptr<Communicator>>& communicators,
                     const std::function<ncclResult_t()>& steps) {
  for (const std::shared_ptr<Communicator>& communicator : communicators) {
    communicator->begin_work();
  }
  const auto work = [communicators, steps] {
    const ncclResult_t result = steps();
    for (const std::shared_ptr<Communicator>& communicator : communicators) {
      communicator->finish_work();
    }
    return result;
  };
  if (communicators.front()->blocking()) {
    return work();
  }
  // Not joined: wait_for_work() is how others wait for it.
  std::thread([work, device = communicators.front()->device()] {
    cudaSetDevice(device);
    work();
  }).detach();
  return ncclInProgress;
}

Group& Group::current() {
  thread_local Group group;
  return group;
}

ncclResult_t Group::add(const std::shared_ptr<Communicator>& communicator,
                        const Operation& operation) {
  // A communicator that has not come to the end of its last call is not touched.
  ncclResult_t problem = communicator->state() == ncclSuccess ? ncclSuccess : ncclInvalidArgument;
  if (communicator->closed() || operation.peer == communicator->rank()) {
    problem = ncclInvalidUsage;
  } else if (operation.peer < 0 || operation.peer >= communicator->ranks()) {
    problem = ncclInvalidArgument;
  } else if (!parts_.empty() &&
             parts_.front().communicator->blocking() != communicator->blocking()) {
    problem = ncclInvalidArgument;
  }
  if (problem != ncclSuccess) {
    error_ = error_ == ncclSuccess ? problem : error_;
    return problem;
  }
  const auto found = std::ranges::find(parts_, communicator, &Part::communicator);
  Part& part = found == parts_.end() ? parts_.emplace_back() : *found;
  part.communicator = communicator;
  part.operations.push_back(operation);
  return ncclSuccess;
}

ncclResult_t Group::end() {
  --depth_;
  if (depth_ > 0) {
    return ncclSuccess;
  }
  const std::vector<Part> parts = std::exchange(parts_, {});
  const ncclResult_t error = std::exchange(error_, ncclSuccess);
  if (error != ncclSuccess || parts.empty()) {
    return error;
  }
  std::vector<std::shared_ptr<Communicator>> communicators;
  for (const Part& part : parts) {
    communicators.push_back(part.communicator);
  }
  return do_work(communicators, [parts] { return launch(parts); });
}

// Nothing is launched before all of it is connected.
ncclResult_t Group::launch(const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    part.communicator->offer_connections(part.operations);
  }
  ncclResult_t result = ncclSuccess;
  for (const Part& part : parts) {
    const ncclResult_t connected = part.communicator->await_connections(part.operations);
    result = result == ncclSuccess ? connected : result;
  }
  for (const Part& part : parts) {
    if (result == ncclSuccess) {
      result = part.communicator->launch(part.operations);
    }
  }
  return result;
}

}  // namespace stand_in
