#include "runtime/nccl/nccl_end.h"

#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <nccl.h>

#include "costs/error.h"

namespace dualpipe {

std::string describe(ncclResult_t result) {
  const char* const detail = ncclGetLastError(nullptr);
  return detail == nullptr || *detail == '\0'
             ? std::string(ncclGetErrorString(result))
             : fmt::format("{} ({})", ncclGetErrorString(result), detail);
}

NcclEnd::NcclEnd(const Place& place, const ncclUniqueId& id) : place_(place) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.minCTAs = 1;
  config.maxCTAs = place_.ctas_max;
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
  config.commName = place_.name.c_str();  // for NCCL's own logs
#endif
  check(ncclCommInitRankConfig(&comm_, place_.members, id, place_.number, &config), "opening");
}

void NcclEnd::check(ncclResult_t result, const char* doing) const {
  if (result != ncclSuccess && result != ncclInProgress) {
    throw Error(ExitCode::transport, fmt::format("NCCL communicator '{}': {}: {}", place_.name,
                                                 doing, describe(result)));
  }
}

bool NcclEnd::is_settled() {
  const std::scoped_lock lock(mutex_);
  if (comm_ == nullptr) {
    throw Error(ExitCode::transport,
                fmt::format("NCCL communicator '{}' has been aborted", place_.name));
  }
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(comm_, &state), "asking for its state");
  check(state, "communicating");
  return state == ncclSuccess;
}

void NcclEnd::send(std::span<const std::byte> message, int peer) {
  check(ncclSend(message.data(), message.size(), ncclInt8, peer, comm_, stream()), "sending");
}

void NcclEnd::receive(std::span<std::byte> message, int peer) {
  check(ncclRecv(message.data(), message.size(), ncclInt8, peer, comm_, stream()), "receiving");
}

void NcclEnd::finish() {
  check(ncclCommFinalize(comm_), "closing");
}

void NcclEnd::destroy() {
  const std::scoped_lock lock(mutex_);
  check(ncclCommDestroy(std::exchange(comm_, nullptr)), "freeing");
}

// An older NCCL can only do both at once.
void NcclEnd::revoke() noexcept {
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 28, 7)
  const std::scoped_lock lock(mutex_);
  if (comm_ != nullptr) {
    ncclCommRevoke(comm_, NCCL_REVOKE_DEFAULT);
  }
#else
  abort();
#endif
}

void NcclEnd::abort() noexcept {
  const std::scoped_lock lock(mutex_);
  if (comm_ != nullptr) {
    ncclCommAbort(std::exchange(comm_, nullptr));
  }
}

}  // namespace dualpipe
