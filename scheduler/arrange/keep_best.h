// The few best of many candidates.

#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace dualpipe {

// Puts the candidate into `best`, which is in order of `value`, the least first, and of which the
// first `most` stay; of two with the same value the first to come stays.
template <typename Kept>
void keep_best(std::vector<Kept>& best, Kept candidate, std::size_t most) {
  const auto place = std::ranges::lower_bound(best, candidate.value, {}, &Kept::value);
  if (place == best.end() || place->value != candidate.value) {
    best.insert(place, std::move(candidate));
    best.resize(std::min(best.size(), most));
  }
}

}  // namespace dualpipe
