#include "runtime/run_identity.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/checksum.h"
#include "runtime/collectives.h"
#include "runtime/watchdog.h"
#include "scheduler/program.h"
#include "scheduler/text.h"

namespace dualpipe {
namespace {

// What is compared of a message and of an instruction, without padding.
void append(std::vector<std::int32_t>& words, const Message& message) {
  words.insert(words.end(),
               {message.channel, message.sequence, message.value.stage, message.value.microbatch,
                static_cast<std::int32_t>(message.value.kind)});
}

// "name=hash" lines: identities travel and are kept as text.
std::string to_text(const RunIdentity& identity) {
  std::string text;
  for (const RunIdentity::Concern& concern : identity.concerns()) {
    text += fmt::format("{}={:016x}\n", concern.name, concern.hash);
  }
  return text;
}

RunIdentity from_text(std::string_view text) {
  RunIdentity identity;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      throw Error(ExitCode::transport, "another rank sent something that is no run identity");
    }
    identity.add(
        {.name = std::string(line.substr(0, equals)),
         .hash = std::strtoull(std::string(line.substr(equals + 1)).c_str(), nullptr, 16)});
  }
  return identity;
}

}  // namespace

void RunIdentity::add(std::string name, std::span<const std::byte> bytes) {
  add({.name = std::move(name), .hash = checksum_of(bytes)});
}

void RunIdentity::add(std::string name, std::string_view text) {
  add(std::move(name), std::as_bytes(std::span(text)));
}

std::vector<std::string> RunIdentity::differences(const RunIdentity& other) const {
  std::vector<std::string> names;
  const auto missing_in = [](const RunIdentity& identity, const Concern& concern) {
    return std::ranges::find(identity.concerns_, concern) == identity.concerns_.end();
  };
  for (const Concern& concern : concerns_) {
    if (missing_in(other, concern)) {
      names.push_back(concern.name);
    }
  }
  for (const Concern& concern : other.concerns_) {
    if (missing_in(*this, concern) && std::ranges::find(names, concern.name) == names.end()) {
      names.push_back(concern.name);
    }
  }
  return names;
}

RunIdentity together(RunIdentity identity, const RunIdentity& other) {
  for (const RunIdentity::Concern& concern : other.concerns()) {
    identity.add(concern);
  }
  return identity;
}

void add_schedule(const Program& program, RunIdentity& identity) {
  identity.add("schedule", to_json(program.schedule()));
}

void add_communication(const Program& program, RunIdentity& identity) {
  std::vector<std::int32_t> words;
  for (const Message& message : program.messages()) {
    append(words, message);
  }
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    for (const Instruction& instruction : program.instructions(rank)) {
      words.push_back(static_cast<std::int32_t>(instruction.kind));
      words.push_back(instruction.index);
    }
  }
  identity.add("communication", std::as_bytes(std::span(words)));
}

void require_same_identity(const BoundedWait& waits, const RunIdentity& identity) {
  const std::string mine = to_text(identity);
  const auto all = gather(waits, std::as_bytes(std::span(mine)));
  std::string others;
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    const std::string_view text(reinterpret_cast<const char*>(all[rank].data()), all[rank].size());
    const std::vector<std::string> names = identity.differences(from_text(text));
    if (!names.empty()) {
      others += fmt::format("\n  rank {} has another {}", rank, fmt::join(names, ", another "));
    }
  }
  if (!others.empty()) {
    throw Error(ExitCode::usage,
                "the ranks were not started for the same run; compared with rank 0:" + others +
                    "\nstart the same program with the same options, config and files everywhere");
  }
  static_cast<void>(broadcast(waits, {}));
}

}  // namespace dualpipe
