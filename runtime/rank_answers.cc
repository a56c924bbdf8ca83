#include "runtime/rank_answers.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/collectives.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"

namespace dualpipe {
namespace {

// What a rank's attempt has come to: ok, or the Error it has thrown.
struct Outcome {
  std::int32_t code = 0;
  std::string words;

  bool operator==(const Outcome&) const = default;
  [[nodiscard]] bool is_refusal() const { return code != static_cast<std::int32_t>(ExitCode::ok); }
};

// An answer begins with the code of the Error, or ok; then come its words, or the result.
std::vector<std::byte> answer_of(std::int32_t code, std::span<const std::byte> rest) {
  std::vector<std::byte> bytes(sizeof(code) + rest.size());
  std::memcpy(bytes.data(), &code, sizeof(code));
  std::ranges::copy(rest, bytes.begin() + sizeof(code));
  return bytes;
}

std::int32_t code_of(const RankBytes& sent) {
  std::int32_t code = 0;
  require_size({.rank = sent.rank,
                .what = sent.what,
                .bytes = sent.bytes.first(std::min(sent.bytes.size(), sizeof(code)))},
               sizeof(code));
  std::memcpy(&code, sent.bytes.data(), sizeof(code));
  return code;
}

std::string words_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Throws the first refusal, if there is one.
void require_success(std::span<const Outcome> outcomes) {
  const auto first = std::ranges::find_if(outcomes, &Outcome::is_refusal);
  if (first == outcomes.end()) {
    return;
  }
  const ExitCode code = static_cast<ExitCode>(first->code);
  if (std::ranges::count(outcomes, *first) == std::ssize(outcomes)) {
    throw Error(code, first->words);
  }
  throw Error(code, fmt::format("rank {}: {}", first - outcomes.begin(), first->words));
}

}  // namespace

void require_size(const RankBytes& sent, std::size_t expected) {
  if (sent.bytes.size() != expected) {
    throw Error(ExitCode::transport,
                fmt::format("rank {} sent {} bytes of {}; expected {}: it is not where the others "
                            "are; start the same program with the same options everywhere",
                            sent.rank, sent.bytes.size(), sent.what, expected));
  }
}

std::vector<std::vector<std::byte>> gather_results(
    const BoundedWait& waits, const std::function<std::vector<std::byte>()>& attempt) {
  std::vector<std::byte> own;
  std::optional<Error> refused;
  try {
    own = answer_of(static_cast<std::int32_t>(ExitCode::ok), attempt());
  } catch (const Error& error) {
    refused = error;
    own = answer_of(static_cast<std::int32_t>(error.code()),
                    std::as_bytes(std::span(std::string_view(error.what()))));
  }
  std::vector<std::vector<std::byte>> results = gather(waits, own);
  if (waits.transport().rank() != 0) {
    if (refused) {
      static_cast<void>(broadcast(waits, {}));  // throws what rank 0 ends the job with
      throw Error(*refused);
    }
    return {};
  }
  std::vector<Outcome> outcomes;
  for (std::vector<std::byte>& answer : results) {
    const RankBytes sent{
        .rank = static_cast<int>(outcomes.size()), .what = "results", .bytes = answer};
    Outcome outcome{.code = code_of(sent), .words = ""};
    answer.erase(answer.begin(), answer.begin() + sizeof(outcome.code));
    if (outcome.is_refusal()) {
      outcome.words = words_of(answer);
    }
    outcomes.push_back(std::move(outcome));
  }
  require_success(outcomes);
  return results;
}

}  // namespace dualpipe
