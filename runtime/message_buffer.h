// A message as it travels: a header that says what it is, then the payload. The receiver checks
// both, so that a message that strayed or was altered on its way is found where it arrives and
// named, never computed with.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/transport.h"

namespace dualpipe {

struct MessageHeader {
  std::uint64_t step = 0;
  std::uint64_t payload_bytes = 0;
  std::int32_t source = 0;
  std::int32_t destination = 0;
  std::int32_t stage = 0;  // that wrote the value
  std::int32_t microbatch = 0;
  std::int32_t sequence = 0;  // in the channel, within the step
  MessageClass message_class = MessageClass::activation;

  bool operator==(const MessageHeader&) const = default;
};

// "activation of stage 1, microbatch 5 (step 3, 1->2 #4, 8192 bytes)".
[[nodiscard]] std::string to_string(const MessageHeader& header);

// A view of one message's memory, 64-byte aligned, header first, payload from byte 64 on.
class MessageBuffer {
 public:
  static constexpr std::size_t header_bytes = 64;

  MessageBuffer() = default;
  // Requires: memory is 64-byte aligned and at least header_bytes long.
  explicit MessageBuffer(std::span<std::byte> memory);

  [[nodiscard]] std::span<std::byte> message() const { return memory_; }
  [[nodiscard]] std::span<std::byte> header() const { return memory_.first(header_bytes); }
  [[nodiscard]] std::span<std::byte> payload() const { return memory_.subspan(header_bytes); }

  // These three are for memory that this process can touch: a device's goes through a copy.
  // With a checksum of the payload, which must be there already.
  void write_header(const MessageHeader& header) const;
  // Nothing where the buffer does not begin with a header.
  [[nodiscard]] std::optional<MessageHeader> read_header() const;
  // Throws Error (transport) naming both when the header is another than `expected`, or no header;
  // naming the message when its checksum does not hold.
  void check_header(const MessageHeader& expected) const;

 private:
  std::span<std::byte> memory_;
};

// A message in a device's memory, and its header on the way between there and the host. Where the
// host can touch the device's memory, the header and the checksum of the payload are written and
// checked in place; elsewhere only the header travels through `host`, with a checksum of its own.
struct DeviceMessage {
  Device& device;
  MessageBuffer message;
  MessageBuffer
      host;  // memory of MemoryHome::host for a header alone; stays until the queue is past

  // Each asks the device, where it must. The payload must have been written, or asked for.
  void write_header(const MessageHeader& header) const;
  void fetch_header() const;
  // What MessageBuffer::check_header() does. Requires: the queue is past fetch_header().
  void check_header(const MessageHeader& expected) const;
};

// Owns the memory of a rank's messages: one allocation of its device, cut up once, freed as a
// whole.
class MessageArena {
 public:
  // Of payloads, from the beginning of the memory: how a product of matrices is computed, and so
  // its last bits, may depend on how its operands are aligned, up to what a GPU's allocations are.
  static constexpr std::size_t payload_alignment = 256;

  // Memory for one message of this payload; valid as long as the arena. Requires: not yet sealed.
  [[nodiscard]] std::size_t reserve(std::size_t payload_bytes);  // returns an index
  // Allocates zeroed memory; from then on at() works and reserve() does not. The device must
  // outlive the arena.
  void seal(Device& device);
  [[nodiscard]] MessageBuffer at(std::size_t index) const;
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Range {
    std::size_t offset = 0;
    std::size_t length = 0;
  };
  std::vector<Range> ranges_;
  std::size_t bytes_ = 0;
  bool sealed_ = false;
  DeviceMemory memory_;
};

}  // namespace dualpipe
