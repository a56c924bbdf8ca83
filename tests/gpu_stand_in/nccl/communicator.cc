#include "tests/gpu_stand_in/nccl/communicator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "tests/gpu_stand_in/cudart/enqueue.h"
#include "tests/gpu_stand_in/nccl/last_error.h"
#include "tests/gpu_stand_in/nccl/launch_order.h"
#include "tests/gpu_stand_in/nccl/segment.h"

namespace stand_in {

Communicator::Communicator(std::unique_ptr<Segment> segment, int rank, bool blocking)
    : segment_(std::move(segment)),
      rank_(rank),
      blocking_(blocking),
      sends_(static_cast<std::size_t>(segment_->ranks())),
      receives_(static_cast<std::size_t>(segment_->ranks())) {
  cudaGetDevice(&device_);
  cudaEventCreateWithFlags(&done_, cudaEventDisableTiming);
}

Communicator::~Communicator() {
  cudaEventDestroy(done_);
}

ncclResult_t Communicator::state() const {
  const std::scoped_lock lock(state_mutex_);
  if (failure_ != ncclSuccess) {
    return failure_;
  }
  return works_ > 0 ? ncclInProgress : ncclSuccess;
}

std::string Communicator::last_error() const {
  const std::scoped_lock lock(state_mutex_);
  return last_error_;
}

ncclResult_t Communicator::fail(ncclResult_t result, const std::string& why) {
  set_last_error(why);
  const std::scoped_lock lock(state_mutex_);
  if (failure_ == ncclSuccess) {
    failure_ = result;
    last_error_ = why;
  }
  return result;
}

void Communicator::begin_work() {
  const std::scoped_lock lock(state_mutex_);
  ++works_;
}

void Communicator::finish_work() {
  {
    const std::scoped_lock lock(state_mutex_);
    --works_;
  }
  state_changed_.notify_all();
}

void Communicator::wait_for_work() {
  std::unique_lock lock(state_mutex_);
  state_changed_.wait(lock, [&] { return works_ == 0; });
}

bool Communicator::await(const std::function<bool()>& condition) {
  while (!stopped_.load()) {
    const std::uint32_t rings = segment_->rings();
    if (condition()) {
      return true;
    }
    segment_->sleep(rings);
  }
  return false;
}

ncclResult_t Communicator::join(const ncclUniqueId& id) {
  Member& self = segment_->member(rank_);
  if (self.has_joined.exchange(true)) {
    return fail(ncclInvalidUsage, "rank " + std::to_string(rank_) + " has joined before");
  }
  if (const char* host_id = std::getenv("NCCL_HOSTID")) {
    const std::string_view text = host_id;
    std::memcpy(self.host_id.data(), host_id, std::min(text.size(), self.host_id.size()));
  }
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, device_);
  self.bus = properties.pciBusID;
  ++segment_->joined();
  segment_->ring();
  if (!await([&] { return segment_->joined().load() == ranks(); })) {
    return ncclSuccess;
  }
  Segment::forget(id);
  return find_shared_device();
}

ncclResult_t Communicator::find_shared_device() {
  for (int rank = 0; rank < ranks(); ++rank) {
    for (int other = 0; other < rank; ++other) {
      const Member& one = segment_->member(rank);
      const Member& another = segment_->member(other);
      if (one.bus == another.bus && one.host_id == another.host_id) {
        return fail(ncclInvalidUsage, "Duplicate GPU detected : rank " + std::to_string(other) +
                                          " and rank " + std::to_string(rank) +
                                          " both on CUDA device " + std::to_string(one.bus));
      }
    }
  }
  return ncclSuccess;
}

void Communicator::offer_connections(const std::vector<Operation>& operations) {
  for (const Operation& operation : operations) {
    if (operation.is_send) {
      segment_->lane(rank_, operation.peer).sender_connected.store(true);
    } else {
      segment_->lane(operation.peer, rank_).receiver_connected.store(true);
    }
  }
  segment_->ring();
}

ncclResult_t Communicator::await_connections(const std::vector<Operation>& operations) {
  const bool connected = await([&] {
    return std::ranges::all_of(operations, [&](const Operation& operation) {
      return operation.is_send ? segment_->lane(rank_, operation.peer).receiver_connected.load()
                               : segment_->lane(operation.peer, rank_).sender_connected.load();
    });
  });
  return connected ? ncclSuccess : ncclInternalError;
}

ncclResult_t Communicator::launch(const std::vector<Operation>& operations) {
  for (const Operation& operation : operations) {
    if (operation.bytes > 0 &&
        !dualpipe_stand_in_reaches(operation.stream, operation.memory, operation.bytes)) {
      return fail(ncclInvalidArgument,
                  std::string(operation.is_send ? "ncclSend" : "ncclRecv") +
                      " was given memory that is not all within reach of its stream's device");
    }
  }
  if (stopped_.load()) {
    return ncclSuccess;
  }
  const std::scoped_lock lock(launch_mutex_);
  const cudaError_t error = put_in_streams(operations);
  return error == cudaSuccess ? ncclSuccess
                              : fail(ncclUnhandledCudaError, cudaGetErrorString(error));
}

// The launch is in the first of the streams; it waits for all of them and for the launch before
// it, and they wait for it.
cudaError_t Communicator::put_in_streams(const std::vector<Operation>& operations) {
  std::vector<cudaStream_t> streams;
  for (const Operation& operation : operations) {
    if (std::ranges::find(streams, operation.stream) == streams.end()) {
      streams.push_back(operation.stream);
    }
  }
  const cudaStream_t main = streams.front();
  cudaError_t first_error = cudaSuccess;
  const auto check = [&](cudaError_t error) {
    first_error = first_error == cudaSuccess ? error : first_error;
  };
  check(cudaStreamWaitEvent(main, done_, 0));
  for (const cudaStream_t stream : streams) {
    check(cudaEventRecord(done_, stream));
    check(cudaStreamWaitEvent(main, done_, 0));
  }
  check(keep_launch_order(device_, main));
  check(dualpipe_stand_in_enqueue(
      main, [self = shared_from_this(), operations] { self->run(operations); }));
  check(cudaEventRecord(done_, main));
  for (const cudaStream_t stream : streams) {
    check(cudaStreamWaitEvent(stream, done_, 0));
  }
  return first_error;
}

void Communicator::drain() {
  cudaEventSynchronize(done_);
}

void Communicator::leave() {
  ++segment_->left();
  segment_->ring();
}

void Communicator::await_leaving_of_all() {
  await([&] { return segment_->left().load() == ranks(); });
}

void Communicator::stop() {
  closed_.store(true);
  stopped_.store(true);
  segment_->ring();
}

// --- what a launch does in its stream ---

namespace {

// STAND_IN_MESSAGE_US: what a launch takes at least, once all its peers have come.
std::chrono::microseconds message_min() {
  static const std::chrono::microseconds min = [] {
    const char* text = std::getenv("STAND_IN_MESSAGE_US");
    return std::chrono::microseconds(text == nullptr ? 0 : std::atoi(text));
  }();
  return min;
}

}  // namespace

struct Communicator::Progress {
  Operation operation;
  std::size_t bytes_done = 0;
  bool begun = false;
  bool done = false;
};

void Communicator::run(const std::vector<Operation>& operations) {
  // Operations with one peer in one direction follow one another; all others run together.
  std::vector<std::vector<Progress>> tracks;
  for (const Operation& operation : operations) {
    const auto track = std::ranges::find_if(tracks, [&](const std::vector<Progress>& other) {
      const Operation& first = other.front().operation;
      return first.peer == operation.peer && first.is_send == operation.is_send;
    });
    std::vector<Progress>& own = track == tracks.end() ? tracks.emplace_back() : *track;
    own.push_back({.operation = operation});
  }
  // false: nothing is left to do.
  const auto advance_all = [&](bool& moved) {
    bool left = false;
    for (std::vector<Progress>& track : tracks) {
      const auto first = std::ranges::find(track, false, &Progress::done);
      left = left || first != track.end();
      moved = (first != track.end() && advance(*first)) || moved;
    }
    return left && state() != ncclInvalidUsage;
  };
  while (!stopped_.load()) {
    const std::uint32_t rings = segment_->rings();
    bool moved = false;
    if (!advance_all(moved)) {
      std::this_thread::sleep_for(message_min());
      break;
    }
    if (moved) {
      segment_->ring();
    } else {
      segment_->sleep(rings);
    }
  }
}

bool Communicator::advance(Progress& progress) {
  return progress.operation.is_send ? advance_send(progress) : advance_receive(progress);
}

namespace {

// Byte i of a lane lies at i modulo the buffer's size: calls copy_part(offset in the buffer, offset
// in the bytes, length) for what lies in one piece.
template <typename CopyPart>
void for_each_part(std::uint64_t begin, std::size_t bytes, const CopyPart& copy_part) {
  const std::size_t offset = begin % Lane::buffer_bytes;
  const std::size_t first = std::min(bytes, Lane::buffer_bytes - offset);
  if (first > 0) {
    copy_part(offset, std::size_t{0}, first);
  }
  if (bytes > first) {
    copy_part(std::size_t{0}, first, bytes - first);
  }
}

}  // namespace

bool Communicator::advance_send(Progress& progress) {
  const Operation& operation = progress.operation;
  Lane& lane = segment_->lane(rank_, operation.peer);
  std::uint64_t& sent = sends_[static_cast<std::size_t>(operation.peer)];
  if (lane.receives_begun.load() <= sent) {
    return false;
  }
  // Once all is written, the receiver may have gone on to the next message.
  const bool writes = progress.bytes_done == 0 && !progress.begun;
  if (writes && lane.receive_bytes.load() != operation.bytes) {
    lane.send_bytes_wrong.store(operation.bytes + 1);
    fail(ncclInvalidUsage, "a send of " + std::to_string(operation.bytes) + " bytes to rank " +
                               std::to_string(operation.peer) + " meets a receive of " +
                               std::to_string(lane.receive_bytes.load()));
    segment_->ring();
    return true;
  }
  const std::uint64_t position = lane.bytes_sent.load();
  const std::size_t room = Lane::buffer_bytes - (position - lane.bytes_received.load());
  const std::size_t bytes = std::min(room, operation.bytes - progress.bytes_done);
  for_each_part(position, bytes, [&](std::size_t at, std::size_t from, std::size_t length) {
    std::memcpy(lane.buffer.data() + at, operation.memory + progress.bytes_done + from, length);
  });
  progress.bytes_done += bytes;
  lane.bytes_sent.store(position + bytes);
  const bool all_written = progress.bytes_done == operation.bytes && !progress.begun;
  if (all_written) {
    progress.begun = true;
    lane.sends_done.store(sent + 1);
  }
  if (progress.begun && lane.bytes_received.load() == lane.bytes_sent.load()) {
    ++sent;
    progress.done = true;
  }
  return bytes > 0 || all_written || progress.done;
}

bool Communicator::advance_receive(Progress& progress) {
  const Operation& operation = progress.operation;
  Lane& lane = segment_->lane(operation.peer, rank_);
  std::uint64_t& received = receives_[static_cast<std::size_t>(operation.peer)];
  const bool begins = !progress.begun;
  if (begins) {
    progress.begun = true;
    lane.receive_bytes.store(operation.bytes);
    lane.receives_begun.store(received + 1);
  }
  if (const std::uint64_t wrong = lane.send_bytes_wrong.load()) {
    fail(ncclInvalidUsage, "a receive of " + std::to_string(operation.bytes) + " bytes from rank " +
                               std::to_string(operation.peer) + " meets a send of " +
                               std::to_string(wrong - 1));
    return true;
  }
  const std::uint64_t position = lane.bytes_received.load();
  const std::size_t bytes = lane.bytes_sent.load() - position;
  for_each_part(position, bytes, [&](std::size_t at, std::size_t to, std::size_t length) {
    std::memcpy(operation.memory + progress.bytes_done + to, lane.buffer.data() + at, length);
  });
  progress.bytes_done += bytes;
  lane.bytes_received.store(position + bytes);
  if (progress.bytes_done == operation.bytes && lane.sends_done.load() > received) {
    ++received;
    progress.done = true;
  }
  return begins || bytes > 0 || progress.done;
}

}  // namespace stand_in
