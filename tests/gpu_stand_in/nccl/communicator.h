// One rank's end of a communicator, with NCCL's rules: what it launches runs one launch after
// another, whatever the streams; the operations of one launch run together; a send is done when its
// receive has taken it; an operation with a rank that it has had nothing to do with in this
// direction first waits, on the host, until that rank has one with it.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "tests/gpu_stand_in/nccl/segment.h"

namespace stand_in {

struct Operation {
  bool is_send = false;
  std::byte* memory = nullptr;
  std::size_t bytes = 0;
  int peer = 0;
  cudaStream_t stream = nullptr;
};

class Communicator : public std::enable_shared_from_this<Communicator> {
 public:
  // Requires: the calling thread's current device is the communicator's.
  Communicator(std::unique_ptr<Segment> segment, int rank, bool blocking);
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int ranks() const { return segment_->ranks(); }
  [[nodiscard]] bool blocking() const { return blocking_; }
  [[nodiscard]] int device() const { return device_; }

  // A failure, which stays; else ncclInProgress while there is work on the host; else ncclSuccess.
  [[nodiscard]] ncclResult_t state() const;
  [[nodiscard]] std::string last_error() const;
  // The first failure is kept; returns `result`.
  ncclResult_t fail(ncclResult_t result, const std::string& why);

  // Around work on the host, which may be done by another thread than the caller's.
  void begin_work();
  void finish_work();
  void wait_for_work();

  // --- the steps of such work ---

  // Waits until all ranks have joined.
  ncclResult_t join(const ncclUniqueId& id);
  // Says that this rank is ready for these operations; waits until their peers are.
  void offer_connections(const std::vector<Operation>& operations);
  ncclResult_t await_connections(const std::vector<Operation>& operations);
  // Puts them into their streams, as one launch.
  ncclResult_t launch(const std::vector<Operation>& operations);
  // Waits until all launches are done.
  void drain();
  void leave();
  void await_leaving_of_all();

  // Ends what is under way, on the host and in streams, and lets nothing follow. Does not wait.
  void stop();
  // No operations follow.
  void close() { closed_.store(true); }
  [[nodiscard]] bool closed() const { return closed_.load(); }

 private:
  struct Progress;  // of an operation of a launch

  [[nodiscard]] ncclResult_t find_shared_device();
  [[nodiscard]] cudaError_t put_in_streams(const std::vector<Operation>& operations);
  // false: stopped before the condition came true.
  bool await(const std::function<bool()>& condition);
  void run(const std::vector<Operation>& operations);
  bool advance(Progress& progress);
  bool advance_send(Progress& progress);
  bool advance_receive(Progress& progress);

  const std::unique_ptr<Segment> segment_;
  const int rank_;
  const bool blocking_;
  int device_ = 0;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> closed_{false};

  mutable std::mutex state_mutex_;
  std::condition_variable state_changed_;
  int works_ = 0;
  ncclResult_t failure_ = ncclSuccess;
  std::string last_error_;

  std::mutex launch_mutex_;
  cudaEvent_t done_ = nullptr;  // behind the last launch
  // [peer]: messages that are done. Touched by launches alone, of which one runs at a time.
  std::vector<std::uint64_t> sends_;
  std::vector<std::uint64_t> receives_;
};

}  // namespace stand_in
