// A checksum of bytes that travel or are kept: it tells what was altered on the way from what was
// sent. No protection against anybody who alters them on purpose.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dualpipe {

// XXH64 (Collet; doc/xxhash_spec.md of the xxHash project): the same on every machine. Any change
// within one of its 8-byte words is found for certain, any other but for one in 2^64.
[[nodiscard]] std::uint64_t checksum_of(std::span<const std::byte> bytes, std::uint64_t seed = 0);

}  // namespace dualpipe
