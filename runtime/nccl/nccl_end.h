// One rank's end of an NCCL communicator: its handle and its communication stream. Inner part of
// nccl_transport.h.
//
// The communicator is opened without blocking: every call returns at once, and says later, when
// asked for its state, what came of it. That alone lets a rank give up when a peer is gone.

#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <string>

#include <nccl.h>

#include "runtime/cuda/cuda_handles.h"

namespace dualpipe {

// "ncclRemoteError: remote process exited or there was a network error (...)".
[[nodiscard]] std::string describe(ncclResult_t result);

class NcclEnd {
 public:
  struct Place {
    std::string name;  // of the communicator
    int members = 0;
    int number = 0;  // this rank's among them
    int ctas_max = 1;
  };

  // Begins to open it; is_settled() says when that is done. Uses the thread's current GPU.
  NcclEnd(const Place& place, const ncclUniqueId& id);
  // Leaves the communicator as it is: end it before, with finish() or abort().
  ~NcclEnd() = default;
  NcclEnd(const NcclEnd&) = delete;
  NcclEnd& operator=(const NcclEnd&) = delete;

  [[nodiscard]] const std::string& name() const { return place_.name; }
  [[nodiscard]] cudaStream_t stream() const { return stream_.get(); }
  [[nodiscard]] bool is_idle() const { return stream_.is_idle(); }

  // Whether NCCL has taken over all it was asked for. Until then the stream is not to be touched.
  // Throws Error (transport) naming the communicator when it has failed.
  [[nodiscard]] bool is_settled();

  // Between ncclGroupStart and ncclGroupEnd. `peer` is a number among the members.
  void send(std::span<const std::byte> message, int peer);
  void receive(std::span<std::byte> message, int peer);

  // Asks for an orderly end, which comes when all members have asked and is_settled().
  void finish();
  // Frees what is left after that.
  void destroy();
  // Stops all operations under way, here and at the peers. Any thread; then only abort() may
  // follow.
  void revoke() noexcept;
  // Frees everything without asking the peers; may take its time where they are dead.
  void abort() noexcept;

 private:
  void check(ncclResult_t result, const char* doing) const;

  Place place_;
  CudaStream stream_;
  std::mutex mutex_;  // of comm_, for a revocation by another thread
  ncclComm_t comm_ = nullptr;
};

}  // namespace dualpipe
