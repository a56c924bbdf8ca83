// A rank of a small NCCL job, for tests: its device, two streams, and as many communicators as it
// joins, none of which blocks.

#pragma once

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace stand_in {

inline void check(cudaError_t error) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("CUDA says: ") + cudaGetErrorString(error));
  }
}

inline void check(ncclResult_t result) {
  if (result != ncclSuccess && result != ncclInProgress) {
    throw std::runtime_error(std::string("NCCL says: ") + ncclGetErrorString(result));
  }
}

// What works must do so within this time, and what hangs must do so for the other.
inline constexpr std::chrono::seconds generous{20};
inline constexpr std::chrono::milliseconds long_enough{300};

template <typename Condition>
bool comes_true(const Condition& condition, std::chrono::nanoseconds within = generous) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

class Rank {
 public:
  static constexpr int streams = 2;

  Rank(int number, int ranks, int device) : number_(number), ranks_(ranks) {
    check(cudaSetDevice(device));
    for (cudaStream_t& stream : streams_) {
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    }
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;
  // Communicators that the test has not ended are aborted, all of them before the streams are
  // waited for.
  ~Rank() {
    for (const ncclComm_t communicator : communicators_) {
      ncclCommRevoke(communicator, NCCL_REVOKE_DEFAULT);
    }
    for (const ncclComm_t communicator : communicators_) {
      ncclCommAbort(communicator);
    }
    for (float* const memory : memory_) {
      cudaFree(memory);
    }
    for (const cudaStream_t stream : streams_) {
      cudaStreamDestroy(stream);
    }
  }

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] cudaStream_t stream(std::size_t position = 0) const { return streams_[position]; }
  [[nodiscard]] ncclComm_t communicator(std::size_t position = 0) const {
    return communicators_[position];
  }
  // The test has destroyed it.
  void forget_communicators() { communicators_.clear(); }

  // What becomes of an attempt to join.
  ncclResult_t try_join(const ncclUniqueId& id) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(ncclCommInitRankConfig(&communicators_.emplace_back(), ranks_, id, number_, &config));
    return settled(communicators_.back());
  }
  void join(const ncclUniqueId& id) { check(try_join(id)); }

  // The communicator's state when it is ncclInProgress no longer; or still, after the time.
  [[nodiscard]] static ncclResult_t settled(ncclComm_t communicator,
                                            std::chrono::nanoseconds within = generous) {
    ncclResult_t state = ncclInProgress;
    comes_true(
        [&] {
          check(ncclCommGetAsyncError(communicator, &state));
          return state != ncclInProgress;
        },
        within);
    return state;
  }

  // So many floats of device memory, all of one value.
  float* memory(std::size_t count, float value = 0.0F) {
    void* allocated = nullptr;
    check(cudaMalloc(&allocated, count * sizeof(float)));
    memory_.push_back(static_cast<float*>(allocated));
    const std::vector<float> values(count, value);
    check(cudaMemcpy(allocated, values.data(), count * sizeof(float), cudaMemcpyHostToDevice));
    return memory_.back();
  }

  // What lies there, once the rank's streams are done.
  [[nodiscard]] std::vector<float> values(const float* memory, std::size_t count) const {
    for (const cudaStream_t stream : streams_) {
      check(cudaStreamSynchronize(stream));
    }
    std::vector<float> values(count);
    check(cudaMemcpy(values.data(), memory, count * sizeof(float), cudaMemcpyDeviceToHost));
    return values;
  }

  struct Way {
    std::size_t communicator = 0;
    std::size_t stream = 0;
  };
  void send(const float* memory, std::size_t count, int peer, Way way) {
    check(ncclSend(memory, count, ncclFloat32, peer, communicator(way.communicator),
                   stream(way.stream)));
  }
  void receive(float* memory, std::size_t count, int peer, Way way) {
    check(ncclRecv(memory, count, ncclFloat32, peer, communicator(way.communicator),
                   stream(way.stream)));
  }
  void settle(std::size_t position = 0) { check(settled(communicator(position))); }

  // Connects both directions between two ranks, so that no later call waits on the host.
  void connect(int peer, std::size_t position = 0) {
    float* const mine = memory(1);
    float* const theirs = memory(1);
    check(ncclGroupStart());
    send(mine, 1, peer, {.communicator = position});
    receive(theirs, 1, peer, {.communicator = position});
    check(ncclGroupEnd());
    settle(position);
    check(cudaStreamSynchronize(stream()));
  }

  // Whether all streams come to their end.
  [[nodiscard]] bool finishes(std::chrono::nanoseconds within = generous) const {
    return comes_true(
        [&] {
          for (const cudaStream_t stream : streams_) {
            const cudaError_t state = cudaStreamQuery(stream);
            if (state == cudaErrorNotReady) {
              return false;
            }
            check(state);
          }
          return true;
        },
        within);
  }
  [[nodiscard]] bool hangs() const { return !finishes(long_enough); }

 private:
  int number_;
  int ranks_;
  cudaStream_t streams_[streams] = {};
  std::vector<ncclComm_t> communicators_;
  std::vector<float*> memory_;
};

inline std::vector<ncclUniqueId> unique_ids(std::size_t count) {
  std::vector<ncclUniqueId> ids(count);
  for (ncclUniqueId& id : ids) {
    check(ncclGetUniqueId(&id));
  }
  return ids;
}

}  // namespace stand_in
