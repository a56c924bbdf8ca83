// The memory that the ranks of a communicator share, whether they are threads or processes: who has
// joined, and a lane from every rank to every other one. It has no name in any file system; the
// process that made the communicator's id holds a descriptor, and the others open that through
// /proc until all have joined. So nothing stays behind when ranks die.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <nccl.h>

namespace stand_in {

inline constexpr std::size_t cache_line = 64;

// Messages from one rank to another. The receiver opens message k by announcing its size; only then
// may the sender write. Each counter has one writer.
struct alignas(cache_line) Lane {
  static constexpr std::size_t buffer_bytes = std::size_t{64} * 1024;

  std::atomic<bool> sender_connected;
  std::atomic<bool> receiver_connected;
  std::atomic<std::uint64_t> receives_begun;
  std::atomic<std::uint64_t> receive_bytes;  // of the receive begun last
  std::atomic<std::uint64_t> sends_done;     // all bytes of so many messages have been written
  std::atomic<std::uint64_t> bytes_sent;     // of all messages
  std::atomic<std::uint64_t> bytes_received;
  std::atomic<std::uint64_t> send_bytes_wrong;  // not 0: what a send had, plus 1, for another size
  std::array<std::byte, buffer_bytes> buffer;   // a ring: byte i of all lies at i modulo its size
};

// What a rank says about itself when it joins.
struct Member {
  std::atomic<bool> has_joined;
  std::array<char, 64> host_id;  // NCCL_HOSTID, which tells one host from another
  int bus;                       // PCI, of its device
};

class Segment {
 public:
  static constexpr int ranks_max = 64;

  // For ncclGetUniqueId(); nullopt when the system has no memory or descriptors left.
  [[nodiscard]] static std::optional<ncclUniqueId> make_id();
  // nullptr when the id is none of make_id()'s, its process has gone, or another rank said that
  // there are another number of ranks.
  [[nodiscard]] static std::unique_ptr<Segment> open(const ncclUniqueId& id, int ranks);

  Segment(void* memory, std::size_t bytes, int ranks)
      : memory_(memory), bytes_(bytes), ranks_(ranks) {}
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] Member& member(int rank);
  [[nodiscard]] Lane& lane(int source, int destination);
  [[nodiscard]] std::atomic<int>& joined();
  [[nodiscard]] std::atomic<int>& left();  // by ncclCommDestroy() or ncclCommAbort()

  // The maker's descriptor of the id is of no more use, once all have joined.
  static void forget(const ncclUniqueId& id);

  // For whoever waits until something in here has changed: look at rings(), look at what you wait
  // for, and sleep until there is another ring, or for a while.
  [[nodiscard]] std::uint32_t rings();
  void ring();
  void sleep(std::uint32_t seen);

 private:
  struct Head;
  [[nodiscard]] Head& head();

  void* memory_;
  std::size_t bytes_;
  int ranks_;
};

}  // namespace stand_in
