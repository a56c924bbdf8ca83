// A control message: a header and one value, in the host's memory. What ranks say to each other
// beside their messages' bytes: a reading of a clock, how many bytes will follow.

#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "runtime/message_buffer.h"
#include "runtime/transport.h"

namespace dualpipe {

template <typename Value>
class ControlMessage {
 public:
  // `sequence` tells messages between the same two ranks apart.
  ControlMessage(int source, int destination, int sequence)
      : header_{.payload_bytes = sizeof(Value),
                .source = source,
                .destination = destination,
                .sequence = sequence,
                .message_class = MessageClass::control} {}

  [[nodiscard]] std::span<std::byte> message() { return memory_; }

  void write(const Value& value) {
    std::memcpy(buffer().payload().data(), &value, sizeof(value));
    buffer().write_header(header_);
  }
  // Throws Error (transport) when something else has come.
  [[nodiscard]] Value read() {
    buffer().check_header(header_);
    Value value{};
    std::memcpy(&value, buffer().payload().data(), sizeof(value));
    return value;
  }

 private:
  static_assert(std::is_trivially_copyable_v<Value>);
  static constexpr std::size_t length = MessageBuffer::header_bytes + sizeof(Value);

  [[nodiscard]] MessageBuffer buffer() { return MessageBuffer(memory_); }

  MessageHeader header_;
  alignas(MessageBuffer::header_bytes) std::array<std::byte, length> memory_{};
};

}  // namespace dualpipe
