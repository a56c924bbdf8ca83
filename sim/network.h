// How messages travel: who waits for whom before a transfer begins, and who shares what while it
// lasts. simulate() knows one way, eager and unshared; simulate_events() knows all of them.

#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/schedule.h"

namespace dualpipe {

struct NetworkModel {
  enum class Mode : std::uint8_t {
    eager,       // a message leaves when its slot ends; a sender never waits
    rendezvous,  // a transfer begins when both ends have posted it, and the sender's buffer is free
                 // when it is done: NCCL's and MPI's way with large messages
    grouped,  // as rendezvous, with what a slot sends and the next one needs posted as one group,
              // which that slot waits for: DualPipe's reference implementation
  };
  enum class Sharing : std::uint8_t {
    none,  // every message has a link of its own
    pair,  // messages from one rank to another share that way's bandwidth equally
    nic,   // each rank has one port out and one in for the network, and another two within its
           // node; messages share them max-min fairly
  };
  Mode mode = Mode::eager;
  Sharing sharing = Sharing::none;
  // A rank computes or communicates, never both at once: a transfer waits for the slots that its
  // two ends are in, and no slot begins there before it is done.
  bool blocking = false;

  bool operator==(const NetworkModel&) const = default;
};

// In the order of the enumerators.
inline constexpr std::array<std::string_view, 3> network_modes{"eager", "rendezvous", "grouped"};
inline constexpr std::array<std::string_view, 3> network_sharings{"none", "pair", "nic"};

// The program that a mode is about. Eager: with as few buffers as the schedule can do with, since
// times do not depend on them. The other two have one send buffer per channel and post a receive
// when the slot that needs it is reached: with rendezvous every transfer is then waited for in
// full, even by a rank that has been idle. (1F1B on 8 ranks with 32 microbatches, F = 1, B = 2,
// latency 0.1: 123.8 eager, 124.5 rendezvous. With one receive posted ahead rendezvous is 123.8
// too.)
//
// Grouped takes a communication order of its own, where there is one: without it DualPipe, and
// every schedule in which two neighbours' sends cross, waits for ever.
[[nodiscard]] Compilation compile_for(NetworkModel::Mode mode, const Schedule& schedule,
                                      const CommunicationOrder& grouped_order = {});

}  // namespace dualpipe
