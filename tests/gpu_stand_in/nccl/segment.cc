#include "tests/gpu_stand_in/nccl/segment.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/futex.h>
#include <nccl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace stand_in {
namespace {

using Nonce = std::array<std::uint64_t, 2>;

// What an id says; the rest of its bytes are zero.
struct IdContent {
  std::array<char, 8> word;
  Nonce nonce;
  int process;
  int descriptor;

  bool operator==(const IdContent&) const = default;
};
static_assert(sizeof(IdContent) <= sizeof(ncclUniqueId));

constexpr std::array<char, 8> id_word{'s', 't', 'a', 'n', 'd', '-', 'i', 'n'};

IdContent content_of(const ncclUniqueId& id) {
  std::array<std::byte, sizeof(IdContent)> bytes{};
  std::memcpy(bytes.data(), &id, bytes.size());
  return std::bit_cast<IdContent>(bytes);
}

// The ids that this process has made and whose descriptors are still open.
struct OpenIds {
  std::mutex mutex;
  std::vector<IdContent> ids;
};

OpenIds& open_ids() {
  static OpenIds& ids = *new OpenIds;
  return ids;
}

}  // namespace

struct Segment::Head {
  Nonce nonce;  // written by make_id(); the rest is zero at first
  std::atomic<std::uint32_t> rings;
  std::atomic<int> joined;
  std::atomic<int> left;
  std::array<Member, ranks_max> members;
};

std::optional<ncclUniqueId> Segment::make_id() {
  IdContent content{.word = id_word, .nonce = {}, .process = getpid(), .descriptor = -1};
  content.descriptor = memfd_create("gpu-stand-in", MFD_CLOEXEC);
  if (content.descriptor < 0 || fchmod(content.descriptor, 0600) != 0 ||
      getrandom(content.nonce.data(), sizeof(Nonce), 0) != ssize_t{sizeof(Nonce)} ||
      write(content.descriptor, content.nonce.data(), sizeof(Nonce)) != ssize_t{sizeof(Nonce)}) {
    return std::nullopt;
  }
  ncclUniqueId id{};
  std::memcpy(&id, &content, sizeof content);
  const std::scoped_lock lock(open_ids().mutex);
  open_ids().ids.push_back(content);
  return id;
}

void Segment::forget(const ncclUniqueId& id) {
  const IdContent content = content_of(id);
  const std::scoped_lock lock(open_ids().mutex);
  if (std::erase(open_ids().ids, content) != 0) {
    close(content.descriptor);
  }
}

std::unique_ptr<Segment> Segment::open(const ncclUniqueId& id, int ranks) {
  const IdContent content = content_of(id);
  if (content.word != id_word) {
    return nullptr;
  }
  const std::string path =
      "/proc/" + std::to_string(content.process) + "/fd/" + std::to_string(content.descriptor);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) {
    return nullptr;
  }
  const std::size_t lanes = static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks);
  const std::size_t bytes =
      (sizeof(Head) + cache_line - 1) / cache_line * cache_line + lanes * sizeof(Lane);
  Nonce nonce{};
  struct stat status{};
  const auto size = static_cast<off_t>(bytes);
  const bool ours = pread(descriptor, nonce.data(), sizeof nonce, 0) == ssize_t{sizeof nonce} &&
                    nonce == content.nonce && fstat(descriptor, &status) == 0 &&
                    (status.st_size == ssize_t{sizeof nonce} || status.st_size == size) &&
                    ftruncate(descriptor, size) == 0;
  void* memory =
      ours ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  close(descriptor);
  return memory == MAP_FAILED ? nullptr : std::make_unique<Segment>(memory, bytes, ranks);
}

Segment::~Segment() {
  munmap(memory_, bytes_);
}

Segment::Head& Segment::head() {
  return *static_cast<Head*>(memory_);
}

Member& Segment::member(int rank) {
  return head().members[static_cast<std::size_t>(rank)];
}

Lane& Segment::lane(int source, int destination) {
  constexpr std::size_t head_bytes = (sizeof(Head) + cache_line - 1) / cache_line * cache_line;
  auto* lanes = reinterpret_cast<Lane*>(static_cast<std::byte*>(memory_) + head_bytes);
  return lanes[static_cast<std::size_t>(source) * static_cast<std::size_t>(ranks_) +
               static_cast<std::size_t>(destination)];
}

std::atomic<int>& Segment::joined() {
  return head().joined;
}

std::atomic<int>& Segment::left() {
  return head().left;
}

std::uint32_t Segment::rings() {
  return head().rings.load();
}

void Segment::ring() {
  ++head().rings;
  syscall(SYS_futex, &head().rings, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

void Segment::sleep(std::uint32_t seen) {
  constexpr timespec a_while{.tv_sec = 0, .tv_nsec = 100'000'000};
  syscall(SYS_futex, &head().rings, FUTEX_WAIT, seen, &a_while, nullptr, 0);
}

}  // namespace stand_in
