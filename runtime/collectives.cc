#include "runtime/collectives.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/checksum.h"
#include "runtime/control_message.h"
#include "runtime/device.h"
#include "runtime/message_buffer.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"

namespace dualpipe {
namespace {

// So that no wait is long because there is much to move, only because somebody does not come.
constexpr std::size_t piece_bytes_max = std::size_t{16} << 20;

// No rank is asked for more memory than this because another says so.
constexpr std::size_t gathered_bytes_max = std::size_t{64} << 30;

// Tells the collectives apart in the announcement of a size.
enum class Collective : std::int32_t { gather, broadcast };

std::string_view to_string(Collective collective) {
  return collective == Collective::gather ? "gather" : "broadcast";
}

// What the message that goes before the bytes says about them.
struct Announced {
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;
};

using Announcement = ControlMessage<Announced>;

Announcement announcement_of(Collective collective, int source, int destination) {
  return {source, destination, static_cast<int>(collective)};
}

void send(const BoundedWait& waits, Collective collective, int peer,
          std::span<const std::byte> bytes) {
  Transport& transport = waits.transport();
  publish_peer(transport, peer);
  Announcement announcement = announcement_of(collective, transport.rank(), peer);
  announcement.write({.bytes = bytes.size(), .checksum = checksum_of(bytes)});
  waits.wait(transport.post_send(peer, MessageClass::control, announcement.message()));
  while (!bytes.empty()) {
    const std::size_t length = std::min(bytes.size(), piece_bytes_max);
    waits.wait(transport.post_send(peer, MessageClass::control, bytes.first(length)));
    bytes = bytes.subspan(length);
  }
}

std::vector<std::byte> receive(const BoundedWait& waits, Collective collective, int peer) {
  Transport& transport = waits.transport();
  publish_peer(transport, peer);
  Announcement announcement = announcement_of(collective, peer, transport.rank());
  waits.wait(transport.post_receive(peer, MessageClass::control, announcement.message()));
  const Announced announced = announcement.read();
  if (announced.bytes > gathered_bytes_max) {
    throw Error(ExitCode::transport, fmt::format("rank {} announced {} bytes, expected at most {}",
                                                 peer, announced.bytes, gathered_bytes_max));
  }
  std::vector<std::byte> bytes(announced.bytes);
  std::span<std::byte> rest(bytes);
  while (!rest.empty()) {
    const std::size_t length = std::min(rest.size(), piece_bytes_max);
    waits.wait(transport.post_receive(peer, MessageClass::control, rest.first(length)));
    rest = rest.subspan(length);
  }
  if (checksum_of(bytes) != announced.checksum) {
    throw Error(ExitCode::transport,
                fmt::format("{} bytes of a {} {}->{} arrived altered (their checksum does not "
                            "hold): look for faulty memory, links or drivers between the ranks",
                            bytes.size(), to_string(collective), peer, transport.rank()));
  }
  return bytes;
}

}  // namespace

void publish_peer(Transport& transport, int peer) {
  StatusPage& page = transport.status();
  page.publish(page.read().step, Activity::synchronizing, peer);
}

std::vector<std::vector<std::byte>> gather(const BoundedWait& waits,
                                           std::span<const std::byte> bytes) {
  const Transport& transport = waits.transport();
  if (transport.rank() != 0) {
    send(waits, Collective::gather, 0, bytes);
    return {};
  }
  std::vector<std::vector<std::byte>> gathered;
  gathered.emplace_back(bytes.begin(), bytes.end());
  for (int peer = 1; peer < transport.ranks(); ++peer) {
    gathered.push_back(receive(waits, Collective::gather, peer));
  }
  return gathered;
}

std::vector<std::byte> broadcast(const BoundedWait& waits, std::span<const std::byte> bytes) {
  const Transport& transport = waits.transport();
  if (transport.rank() != 0) {
    return receive(waits, Collective::broadcast, 0);
  }
  for (int peer = 1; peer < transport.ranks(); ++peer) {
    send(waits, Collective::broadcast, peer, bytes);
  }
  return {bytes.begin(), bytes.end()};
}

void await_all(const BoundedWait& waits) {
  static_cast<void>(gather(waits, {}));
  static_cast<void>(broadcast(waits, {}));
}

void add_replica(const ReplicaExchange& exchange, int peer, std::span<float> values) {
  const auto& [waits, sent, received, host, mark] = exchange;
  CHECK(sent.payload().size() == values.size_bytes());
  CHECK(received.payload().size() == values.size_bytes());
  Transport& transport = waits.transport();
  Device& device = transport.device();
  const RankStatus status = transport.status().read();
  CHECK(status.activity == Activity::reducing_replicas);

  MessageHeader header{.step = static_cast<std::uint64_t>(status.step),
                       .payload_bytes = values.size_bytes(),
                       .source = transport.rank(),
                       .destination = peer,
                       .stage = status.index,
                       .message_class = MessageClass::replica};
  const DeviceMessage outgoing{.device = device, .message = sent, .host = host};
  const DeviceMessage incoming{.device = device, .message = received, .host = host};
  device.copy(std::as_bytes(values), sent.payload());
  outgoing.write_header(header);
  const Ticket receive_ticket =
      transport.post_receive(peer, MessageClass::replica, received.message());
  const Ticket send_ticket = transport.post_send(peer, MessageClass::replica, sent.message());
  transport.end_group();
  waits.wait(receive_ticket);
  waits.wait(send_ticket);
  incoming.fetch_header();
  device.mark(mark);
  waits.wait_for_mark(mark);

  std::swap(header.source, header.destination);
  incoming.check_header(header);
  // The payload's alignment is that of the buffer, and nobody else touches it now.
  device.add({reinterpret_cast<const float*>(received.payload().data()), values.size()}, values);
}

}  // namespace dualpipe
