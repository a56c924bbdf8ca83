// Fault: something that is to go wrong on purpose between ranks, as a short text says it:
//
//   drop:rank=1,message=7          the eighth message that rank 1 sends never arrives
//   corrupt:class=replica          one bit of every message of replicas' gradients is flipped
//   jitter:ms=2,share=0.1          every tenth message, by lot, is late by up to 2 ms
//
// Which messages a lot meets, and what it does to them, depends on the seed alone.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/transport.h"

namespace dualpipe {

struct Fault {
  enum class Kind : std::uint8_t {
    delay,      // late by `time`
    jitter,     // late by 0 to `time`
    reorder,    // late until a message of another channel has overtaken it, at most by `time`
    duplicate,  // sent twice
    drop,       // never sent, though the sender is told so
    truncate,   // only the beginning is sent
    corrupt,    // one bit is flipped
    slow,       // the sender does nothing for `time` before it sends
    die,        // the sender is gone instead of sending it
  };

  Kind kind = Kind::delay;
  std::optional<int> rank;  // the sender; nothing: every rank
  // Nothing: activations and gradients, counted together.
  std::optional<MessageClass> message_class;
  std::optional<std::uint64_t> message;  // which of the sender's, from 0; nothing: all
  double share = 1.0;                    // of these, by lot
  std::chrono::nanoseconds time{};

  // Whether messages of this sender and class are among those that are counted.
  [[nodiscard]] bool concerns(int sender, MessageClass sent_class) const;
};

[[nodiscard]] constexpr std::string_view to_string(Fault::Kind kind) {
  constexpr std::array<std::string_view, 9> names{
      "delay", "jitter", "reorder", "duplicate", "drop", "truncate", "corrupt", "slow", "die"};
  return names[static_cast<std::size_t>(kind)];
}

// What goes wrong in a run. Each fault counts messages for itself.
struct FaultPlan {
  std::vector<Fault> faults;
  std::uint64_t seed = 0;
};

// KIND[:KEY=VALUE,...] with the keys rank, message, class, share, and ms where the kind takes time.
// Throws Error (usage) saying what was expected.
[[nodiscard]] Fault parse_fault(std::string_view text);

// The same in a few lines, for --help.
[[nodiscard]] std::string fault_syntax();

}  // namespace dualpipe
