// NCCL's functions. Their names, parameters and rules are those of NVIDIA's documentation.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "tests/gpu_stand_in/handles.h"
#include "tests/gpu_stand_in/nccl/communicator.h"
#include "tests/gpu_stand_in/nccl/group.h"
#include "tests/gpu_stand_in/nccl/last_error.h"
#include "tests/gpu_stand_in/nccl/segment.h"

using stand_in::Communicator;
using stand_in::Group;

namespace {

using Handle = std::shared_ptr<Communicator>;

// Never destroyed: streams may be at work for a communicator while the process ends.
stand_in::Handles<Communicator>& communicators() {
  static stand_in::Handles<Communicator>& handles = *new stand_in::Handles<Communicator>;
  return handles;
}

// body(const std::shared_ptr<Communicator>&) for the communicator of a handle.
template <typename Body>
ncclResult_t with(ncclComm_t handle, const Body& body) {
  const Handle communicator = communicators().find(handle);
  return communicator ? body(communicator) : ncclInvalidArgument;
}

ncclResult_t fail_without_communicator(ncclResult_t result, const std::string& why) {
  stand_in::set_last_error(why);
  return result;
}

// STAND_IN_STUCK: freeing a communicator never comes to an end.
void get_stuck_if_told() {
  while (std::getenv("STAND_IN_STUCK") != nullptr) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

bool is_asked_to_block(const ncclConfig_t* config) {
  if (config != nullptr && config->blocking != NCCL_CONFIG_UNDEF_INT) {
    return config->blocking != 0;
  }
  const char* text = std::getenv("NCCL_COMM_BLOCKING");
  return text == nullptr || std::string_view(text) != "0";
}

// 0: there is no such type.
std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

ncclResult_t add(ncclComm_t handle, ncclDataType_t type, stand_in::Operation operation) {
  return with(handle, [&](const Handle& communicator) {
    const std::size_t size = size_of(type);
    if (size == 0) {
      return ncclInvalidArgument;
    }
    operation.bytes *= size;
    // Alone, an operation is a group.
    Group& group = Group::current();
    group.start();
    const ncclResult_t added = group.add(communicator, operation);
    const ncclResult_t ended = group.end();
    return added == ncclSuccess ? ended : added;
  });
}

ncclResult_t end_communicator(ncclComm_t handle, const Handle& communicator) {
  communicator->wait_for_work();
  communicator->drain();
  communicator->leave();
  static_cast<void>(communicators().remove(handle));
  return ncclSuccess;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const auto made = stand_in::Segment::make_id();
  if (!made) {
    return fail_without_communicator(ncclSystemError, "no memory to share");
  }
  *id = *made;
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* handle, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  *handle = nullptr;
  if (ranks < 1 || ranks > stand_in::Segment::ranks_max || rank < 0 || rank >= ranks) {
    return fail_without_communicator(ncclInvalidArgument, "no such rank");
  }
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) {
    return fail_without_communicator(ncclUnhandledCudaError, cudaGetErrorString(error));
  }
  const bool blocking = is_asked_to_block(config);
  if (blocking && Group::current().is_open()) {
    return fail_without_communicator(
        ncclInvalidUsage, "blocking communicators are not made in groups by this stand-in");
  }
  std::unique_ptr<stand_in::Segment> segment = stand_in::Segment::open(id, ranks);
  if (!segment) {
    return fail_without_communicator(
        ncclSystemError,
        "the id is not from ncclGetUniqueId(), or has been used, or its process "
        "has gone, or another rank gave another number of ranks");
  }
  const auto communicator = std::make_shared<Communicator>(std::move(segment), rank, blocking);
  *handle = static_cast<ncclComm_t>(communicators().add(communicator));
  return stand_in::do_work({communicator}, [communicator, id] { return communicator->join(id); });
}

ncclResult_t ncclCommInitRank(ncclComm_t* handle, int ranks, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(handle, ranks, id, rank, nullptr);
}

ncclResult_t ncclCommCount(ncclComm_t handle, int* count) {
  return with(handle, [&](const Handle& communicator) {
    *count = communicator->ranks();
    return ncclSuccess;
  });
}

ncclResult_t ncclCommUserRank(ncclComm_t handle, int* rank) {
  return with(handle, [&](const Handle& communicator) {
    *rank = communicator->rank();
    return ncclSuccess;
  });
}

ncclResult_t ncclCommCuDevice(ncclComm_t handle, int* device) {
  return with(handle, [&](const Handle& communicator) {
    *device = communicator->device();
    return ncclSuccess;
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  return with(handle, [&](const Handle& communicator) {
    *state = communicator->state();
    return ncclSuccess;
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  return with(handle, [](const Handle& communicator) {
    if (communicator->closed() || communicator->state() != ncclSuccess) {
      return ncclInvalidUsage;
    }
    communicator->close();
    return stand_in::do_work({communicator}, [communicator] {
      communicator->drain();
      return ncclSuccess;
    });
  });
}

// All ranks must call it: it returns when they have, or have aborted.
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  get_stuck_if_told();
  return with(handle, [&](const Handle& communicator) {
    communicator->close();
    const ncclResult_t result = end_communicator(handle, communicator);
    communicator->await_leaving_of_all();
    return result;
  });
}

// Waits for launches that stand behind other work in their streams, as NCCL's does: what that work
// waits for must be aborted or revoked before.
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  get_stuck_if_told();
  return with(handle, [&](const Handle& communicator) {
    communicator->stop();
    return end_communicator(handle, communicator);
  });
}

ncclResult_t ncclCommRevoke(ncclComm_t handle, int flags) {
  return with(handle, [&](const Handle& communicator) {
    if (flags != NCCL_REVOKE_DEFAULT) {
      return ncclInvalidArgument;
    }
    communicator->stop();
    return stand_in::do_work({communicator}, [communicator] {
      communicator->drain();
      return ncclSuccess;
    });
  });
}

ncclResult_t ncclGroupStart() {
  Group::current().start();
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  return Group::current().is_open() ? Group::current().end() : ncclInvalidUsage;
}

// NOLINTBEGIN(readability-function-size): NCCL has as many parameters.
ncclResult_t ncclSend(const void* memory, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t handle, cudaStream_t stream) {
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(memory));
  return add(handle, type,
             {.is_send = true, .memory = bytes, .bytes = count, .peer = peer, .stream = stream});
}

ncclResult_t ncclRecv(void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t handle,
                      cudaStream_t stream) {
  return add(handle, type,
             {.is_send = false,
              .memory = static_cast<std::byte*>(memory),
              .bytes = count,
              .peer = peer,
              .stream = stream});
}
// NOLINTEND(readability-function-size)

const char* ncclGetErrorString(ncclResult_t result) {
  constexpr std::array<const char*, ncclNumResults> words{
      "no error",
      "unhandled cuda error",
      "unhandled system error",
      "internal error",
      "invalid argument",
      "invalid usage",
      "remote process exited or there was a network error",
      "NCCL operation in progress"};
  const auto number = static_cast<std::size_t>(result);
  return number < words.size() ? words[number] : "unknown result code";
}

// Without a communicator: of any one.
const char* ncclGetLastError(ncclComm_t handle) {
  thread_local std::string text;
  const Handle communicator = communicators().find(handle);
  text = communicator ? communicator->last_error() : stand_in::last_error();
  return text.c_str();
}
}
