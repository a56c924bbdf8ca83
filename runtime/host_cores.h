// Which cores of this host a thread may run on: launchers bind ranks to some of them, containers
// all ranks to the same few.

#pragma once

#include <cstddef>
#include <vector>

namespace dualpipe {

// The calling thread's, a bit each, on a host of any size; empty where the system does not say. All
// threads of a host get equally many words. words_at_first: how many to try with, for tests.
[[nodiscard]] std::vector<unsigned long> own_cores(std::size_t words_at_first = 16);

[[nodiscard]] int count_cores(const std::vector<unsigned long>& cores);

}  // namespace dualpipe
