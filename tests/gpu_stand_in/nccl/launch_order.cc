#include "tests/gpu_stand_in/nccl/launch_order.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

#include <cuda_runtime_api.h>

namespace stand_in {
namespace {

struct LaunchOrder {
  std::mutex mutex;
  std::map<int, cudaEvent_t> begun;  // by device: the last launch's
};

LaunchOrder& launch_order() {
  static LaunchOrder& order = *new LaunchOrder;
  return order;
}

bool is_asked_for() {
  static const bool asked = [] {
    const char* text = std::getenv("NCCL_LAUNCH_ORDER_IMPLICIT");
    return text != nullptr && std::string_view(text) == "1";
  }();
  return asked;
}

}  // namespace

// Requires: the calling thread's current device is this one.
cudaError_t keep_launch_order(int device, cudaStream_t stream) {
  if (!is_asked_for()) {
    return cudaSuccess;
  }
  const std::scoped_lock lock(launch_order().mutex);
  cudaEvent_t& begun = launch_order().begun[device];
  if (begun == nullptr) {
    const cudaError_t error = cudaEventCreateWithFlags(&begun, cudaEventDisableTiming);
    if (error != cudaSuccess) {
      return error;
    }
  }
  const cudaError_t error = cudaStreamWaitEvent(stream, begun, 0);
  return error == cudaSuccess ? cudaEventRecord(begun, stream) : error;
}

}  // namespace stand_in
