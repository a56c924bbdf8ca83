#include "runtime/message_buffer.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

MessageHeader example() {
  return {.step = 3,
          .payload_bytes = 8192,
          .source = 1,
          .destination = 2,
          .stage = 1,
          .microbatch = 5,
          .sequence = 4,
          .message_class = MessageClass::activation};
}

struct OneMessage {
  OneMessage() : index(arena.reserve(8192)) {
    arena.seal(device);
    buffer = arena.at(index);
  }
  CpuDevice device;
  MessageArena arena;
  std::size_t index;
  MessageBuffer buffer;
};

std::string complaint(const MessageBuffer& buffer, const MessageHeader& expected) {
  try {
    buffer.check_header(expected);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::transport);
    return error.what();
  }
  return "";
}

TEST(MessageHeader, IsSaidInWords) {
  EXPECT_EQ(to_string(example()),
            "activation of stage 1, microbatch 5 (step 3, 1->2 #4, 8192 bytes)");
}

TEST(MessageBuffer, ReadsTheHeaderItWrote) {
  const OneMessage message;
  message.buffer.write_header(example());
  EXPECT_EQ(message.buffer.read_header(), example());
  EXPECT_EQ(complaint(message.buffer, example()), "");
}

TEST(MessageBuffer, TheHeaderLeavesThePayloadAlone) {
  const OneMessage message;
  message.buffer.write_header(example());
  EXPECT_EQ(message.buffer.payload().size(), 8192U);
  EXPECT_EQ(message.buffer.message().size(), 8192U + MessageBuffer::header_bytes);
  EXPECT_THAT(message.buffer.payload(), Each(std::byte{0}));
}

TEST(MessageBuffer, EveryFieldIsChecked) {
  const std::vector<std::function<void(MessageHeader&)>> changes{
      [](MessageHeader& header) { header.step = 4; },
      [](MessageHeader& header) { header.payload_bytes = 1; },
      [](MessageHeader& header) { header.source = 0; },
      [](MessageHeader& header) { header.destination = 0; },
      [](MessageHeader& header) { header.stage = 0; },
      [](MessageHeader& header) { header.microbatch = 0; },
      [](MessageHeader& header) { header.sequence = 0; },
      [](MessageHeader& header) { header.message_class = MessageClass::gradient; },
  };
  const OneMessage message;
  message.buffer.write_header(example());
  for (const auto& change : changes) {
    MessageHeader expected = example();
    change(expected);
    EXPECT_EQ(complaint(message.buffer, expected),
              "expected " + to_string(expected) + "; received " + to_string(example()));
  }
}

TEST(MessageBuffer, EveryAlteredBitIsFound) {
  const OneMessage message;
  message.buffer.write_header(example());
  for (std::size_t position = 0; position < 256; ++position) {
    std::byte& byte = message.buffer.message()[position];
    byte ^= std::byte{1} << (position % 8);
    EXPECT_NE(complaint(message.buffer, example()), "") << "byte " << position;
    byte ^= std::byte{1} << (position % 8);
  }
  message.buffer.payload().back() ^= std::byte{128};
  EXPECT_THAT(complaint(message.buffer, example()),
              AllOf(HasSubstr(to_string(example())), HasSubstr("checksum does not hold")));
}

TEST(MessageBuffer, WhatIsNoMessageIsSaidToBeNone) {
  const OneMessage message;
  EXPECT_EQ(message.buffer.read_header(), std::nullopt);
  EXPECT_THAT(complaint(message.buffer, example()),
              AllOf(HasSubstr("expected activation of stage 1"), HasSubstr("no message")));
}

TEST(MessageArena, MessagesAreAlignedAndApart) {
  CpuDevice device;
  MessageArena arena;
  const std::vector<std::size_t> sizes{0, 1, 64, 100, 4096};
  for (const std::size_t bytes : sizes) {
    static_cast<void>(arena.reserve(bytes));
  }
  arena.seal(device);
  const std::byte* end = nullptr;
  const std::byte* const first = arena.at(0).payload().data();
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const MessageBuffer buffer = arena.at(k);
    EXPECT_EQ(buffer.payload().size(), sizes[k]);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.message().data()) % 64, 0U);
    EXPECT_EQ((buffer.payload().data() - first) % 256, 0) << k;
    EXPECT_GE(buffer.message().data(), end);
    end = buffer.message().data() + buffer.message().size();
  }
  // Payloads from 256, 512, 768, 1024 and 1280 on: between them there is room for a header, and the
  // fourth with its next one's header, 1124 + 64, ends before 1280.
  EXPECT_EQ(arena.bytes(), 1280U + 4096U);
}

TEST(MessageArena, MayBeEmpty) {
  CpuDevice device;
  MessageArena arena;
  arena.seal(device);
  EXPECT_EQ(arena.bytes(), 0U);
}

}  // namespace
}  // namespace dualpipe
