// What every transport must do, written once. A check is run by all ranks at the same time, each
// with its own Transport - by threads for the inproc transport, by processes for MPI - and leaves
// the transport as it found it.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/transport.h"

namespace dualpipe {

struct TransportCheck {
  std::string_view name;
  void (*run)(Transport& transport);
};

// How gtest names a check.
std::ostream& operator<<(std::ostream& out, const TransportCheck& check);

[[nodiscard]] std::span<const TransportCheck> transport_checks();

// Far enough away for a loaded machine; a check that gets there has failed.
[[nodiscard]] Deadline generous_deadline();

// Bytes that tell one message from another.
[[nodiscard]] std::vector<std::byte> message_of(std::uint64_t number, std::size_t bytes);

// Waits, expecting that the operation is done before the generous deadline.
void expect_done(Transport& transport, Ticket ticket);

// Returns when every rank has come here.
void meet(Transport& transport);

}  // namespace dualpipe
