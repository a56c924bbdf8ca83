// What every rank tells rank 0, with what is to be true of it checked: that a rank sent as much as
// all others do, and that it could do what all had to do. A rank at another place of its program
// sends something else, and what it sends is not read as what it is not.
//
// All ranks call these together, from their own threads. They throw what gather() throws.

#pragma once

#include <cstddef>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runtime/collectives.h"
#include "runtime/watchdog.h"

namespace dualpipe {

struct RankBytes {
  int rank = 0;
  std::string_view what;  // "losses"
  std::span<const std::byte> bytes;
};

// Throws Error (transport) naming the rank, what it sent and both sizes.
void require_size(const RankBytes& sent, std::size_t expected);

// The bytes as so many values. Throws what require_size() throws.
template <typename Value>
[[nodiscard]] std::vector<Value> values_of(const RankBytes& sent, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<Value>);
  require_size(sent, count * sizeof(Value));
  std::vector<Value> values(count);
  if (count > 0) {
    std::memcpy(values.data(), sent.bytes.data(), sent.bytes.size());
  }
  return values;
}

// [rank]: every rank's values, as many as rank 0 has; empty on the other ranks. Throws what
// require_size() throws, on rank 0.
template <typename Value>
[[nodiscard]] std::vector<std::vector<Value>> gather_values(const BoundedWait& waits,
                                                            std::span<const Value> own,
                                                            std::string_view what) {
  std::vector<std::vector<Value>> values;
  for (const std::vector<std::byte>& bytes : gather(waits, std::as_bytes(own))) {
    const int rank = static_cast<int>(values.size());
    values.push_back(values_of<Value>({.rank = rank, .what = what, .bytes = bytes}, own.size()));
  }
  return values;
}

// [rank]: what `attempt` has returned on every rank; empty on the other ranks. Where it has thrown
// an Error on some, rank 0 throws one, with the code and the words of the first of them - once for
// all, with the rank's number unless all have said the same - and those that failed wait for the
// end that it brings. What is no Error is thrown at once.
[[nodiscard]] std::vector<std::vector<std::byte>> gather_results(
    const BoundedWait& waits, const std::function<std::vector<std::byte>()>& attempt);

}  // namespace dualpipe
