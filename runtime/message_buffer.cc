#include "runtime/message_buffer.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/checksum.h"
#include "runtime/device.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

constexpr std::size_t alignment = MessageBuffer::header_bytes;
constexpr std::uint64_t magic_number = 0x4550'4950'4c41'5544;  // "DUALPIPE" in memory

// As it lies in memory; both ends are of one architecture.
struct WireHeader {
  std::uint64_t magic = magic_number;
  std::uint64_t step = 0;
  std::uint64_t payload_bytes = 0;
  std::int32_t source = 0;
  std::int32_t destination = 0;
  std::int32_t stage = 0;
  std::int32_t microbatch = 0;
  std::int32_t sequence = 0;
  std::uint32_t message_class = 0;
  std::uint64_t checksum = 0;  // of this header, with 0 here, and the payload
  std::uint64_t reserved = 0;
};
static_assert(sizeof(WireHeader) == MessageBuffer::header_bytes);
static_assert(std::has_unique_object_representations_v<WireHeader>);

WireHeader header_in(std::span<const std::byte> message) {
  WireHeader wire;
  std::memcpy(&wire, message.data(), sizeof(wire));
  return wire;
}

std::uint64_t checksum_of(WireHeader wire, std::span<const std::byte> payload) {
  wire.checksum = 0;
  return dualpipe::checksum_of(payload, dualpipe::checksum_of(std::as_bytes(std::span(&wire, 1))));
}

// The least offset from `bytes` on for a message whose payload begins at a multiple of
// payload_alignment.
constexpr std::size_t next_offset(std::size_t bytes) {
  constexpr std::size_t unit = MessageArena::payload_alignment;
  return (bytes + MessageBuffer::header_bytes + unit - 1) / unit * unit -
         MessageBuffer::header_bytes;
}

}  // namespace

std::string to_string(const MessageHeader& header) {
  return fmt::format("{} of stage {}, microbatch {} (step {}, {}->{} #{}, {} bytes)",
                     to_string(header.message_class), header.stage, header.microbatch, header.step,
                     header.source, header.destination, header.sequence, header.payload_bytes);
}

MessageBuffer::MessageBuffer(std::span<std::byte> memory) : memory_(memory) {
  CHECK(memory.size() >= header_bytes);
  CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
}

void MessageBuffer::write_header(const MessageHeader& header) const {
  WireHeader wire{.step = header.step,
                  .payload_bytes = header.payload_bytes,
                  .source = header.source,
                  .destination = header.destination,
                  .stage = header.stage,
                  .microbatch = header.microbatch,
                  .sequence = header.sequence,
                  .message_class = static_cast<std::uint32_t>(header.message_class)};
  wire.checksum = checksum_of(wire, payload());
  std::memcpy(memory_.data(), &wire, sizeof(wire));
}

std::optional<MessageHeader> MessageBuffer::read_header() const {
  const WireHeader wire = header_in(memory_);
  if (wire.magic != magic_number ||
      wire.message_class > static_cast<std::uint32_t>(MessageClass::control)) {
    return std::nullopt;
  }
  return MessageHeader{.step = wire.step,
                       .payload_bytes = wire.payload_bytes,
                       .source = wire.source,
                       .destination = wire.destination,
                       .stage = wire.stage,
                       .microbatch = wire.microbatch,
                       .sequence = wire.sequence,
                       .message_class = static_cast<MessageClass>(wire.message_class)};
}

void MessageBuffer::check_header(const MessageHeader& expected) const {
  const std::optional<MessageHeader> found = read_header();
  if (found != expected) {
    throw Error(ExitCode::transport,
                fmt::format("expected {}; received {}", to_string(expected),
                            found ? to_string(*found) : "something that is no message"));
  }
  const WireHeader wire = header_in(memory_);
  if (checksum_of(wire, payload()) != wire.checksum) {
    throw Error(ExitCode::transport,
                fmt::format("{} arrived with other bytes than were sent (its checksum does not "
                            "hold): look for faulty memory, links or drivers between the ranks",
                            to_string(expected)));
  }
}

void DeviceMessage::write_header(const MessageHeader& header) const {
  if (device.memory_is_hosts()) {
    message.write_header(header);
    return;
  }
  host.write_header(header);
  device.copy(host.header(), message.header());
}

void DeviceMessage::fetch_header() const {
  if (!device.memory_is_hosts()) {
    device.copy(message.header(), host.header());
  }
}

void DeviceMessage::check_header(const MessageHeader& expected) const {
  (device.memory_is_hosts() ? message : host).check_header(expected);
}

std::size_t MessageArena::reserve(std::size_t payload_bytes) {
  CHECK(!sealed_);
  const std::size_t length = MessageBuffer::header_bytes + payload_bytes;
  ranges_.push_back({.offset = next_offset(bytes_), .length = length});
  bytes_ = ranges_.back().offset + length;
  return ranges_.size() - 1;
}

void MessageArena::seal(Device& device) {
  CHECK(!sealed_);
  memory_ = DeviceMemory(device, bytes_);
  sealed_ = true;
}

MessageBuffer MessageArena::at(std::size_t index) const {
  CHECK(sealed_ && index < ranges_.size());
  const Range& range = ranges_[index];
  return MessageBuffer(memory_.bytes().subspan(range.offset, range.length));
}

}  // namespace dualpipe
