// The few collective operations that a training step needs beside its pipeline messages, built on
// the transport's point-to-point messages so that every backend gives the same bits in the same
// order. All ranks (or all named ranks) call them in the same order, from their own threads. They
// throw what BoundedWait::wait() throws, and Error (transport) when another rank is at another
// operation.
//
// gather() and broadcast() publish `synchronizing` and the peer, for the watchdog; add_replica()
// cannot know the stage and relies on its caller.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/message_buffer.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"

namespace dualpipe {

// Tells the watchdog that this rank synchronizes with `peer`, in the step it is in.
void publish_peer(Transport& transport, int peer);

// Every rank's bytes at rank 0, in order of rank; empty elsewhere. Sizes may differ.
[[nodiscard]] std::vector<std::vector<std::byte>> gather(const BoundedWait& waits,
                                                         std::span<const std::byte> bytes);

// Rank 0's bytes on every rank. Other ranks' argument is ignored.
[[nodiscard]] std::vector<std::byte> broadcast(const BoundedWait& waits,
                                               std::span<const std::byte> bytes);

// Returns when every rank has come here.
void await_all(const BoundedWait& waits);

// What add_replica() works with, allocated beforehand.
struct ReplicaExchange {
  const BoundedWait& waits;
  MessageBuffer sent;  // of the device, for one message of all values each
  MessageBuffer received;
  MessageBuffer header;  // of the host, only a header
  std::size_t mark = 0;  // of the device, free for use
};

// Replaces `values`, memory of the transport's device, by the sum over two replicas, added in the
// same order at both ends (addition of two floats commutes, so both get the same bits). Returns
// when all but the addition is done. Requires: the rank's status page says reducing_replicas and
// the stage; the messages repeat it, so that replicas of different stages are never added.
void add_replica(const ReplicaExchange& exchange, int peer, std::span<float> values);

}  // namespace dualpipe
