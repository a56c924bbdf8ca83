#include "runtime/checksum.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace dualpipe {
namespace {

// Named as in the specification; their names say nothing else.
constexpr std::uint64_t prime_1 = 0x9E37'79B1'85EB'CA87;
constexpr std::uint64_t prime_2 = 0xC2B2'AE3D'27D4'EB4F;
constexpr std::uint64_t prime_3 = 0x1656'67B1'9E37'79F9;
constexpr std::uint64_t prime_4 = 0x85EB'CA77'C2B2'AE63;
constexpr std::uint64_t prime_5 = 0x27D4'EB2F'1656'67C5;

constexpr std::size_t stripe_bytes = 32;

// Words are little-endian in the specification, and on every machine that this is built for.
static_assert(std::endian::native == std::endian::little);
template <typename Word>
std::uint64_t read(const std::byte* from) {
  Word word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

constexpr std::uint64_t mix(std::uint64_t lane, std::uint64_t word) {
  return std::rotl(lane + word * prime_2, 31) * prime_1;
}

std::uint64_t add_word(std::uint64_t sum, std::uint64_t word) {
  return std::rotl(sum ^ mix(0, word), 27) * prime_1 + prime_4;
}

// Four lanes, for the processor to work on at the same time.
std::uint64_t sum_stripes(std::span<const std::byte> bytes, std::uint64_t seed) {
  std::array<std::uint64_t, 4> lanes{seed + prime_1 + prime_2, seed + prime_2, seed,
                                     seed - prime_1};
  for (std::size_t offset = 0; offset + stripe_bytes <= bytes.size(); offset += stripe_bytes) {
    const std::byte* const stripe = bytes.data() + offset;
    lanes[0] = mix(lanes[0], read<std::uint64_t>(stripe));
    lanes[1] = mix(lanes[1], read<std::uint64_t>(stripe + 8));
    lanes[2] = mix(lanes[2], read<std::uint64_t>(stripe + 16));
    lanes[3] = mix(lanes[3], read<std::uint64_t>(stripe + 24));
  }
  std::uint64_t sum = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
                      std::rotl(lanes[3], 18);
  for (const std::uint64_t lane : lanes) {
    sum = (sum ^ mix(0, lane)) * prime_1 + prime_4;
  }
  return sum;
}

}  // namespace

std::uint64_t checksum_of(std::span<const std::byte> bytes, std::uint64_t seed) {
  std::uint64_t sum = bytes.size() < stripe_bytes ? seed + prime_5 : sum_stripes(bytes, seed);
  sum += bytes.size();
  std::span<const std::byte> rest = bytes.last(bytes.size() % stripe_bytes);
  for (; rest.size() >= 8; rest = rest.subspan(8)) {
    sum = add_word(sum, read<std::uint64_t>(rest.data()));
  }
  if (rest.size() >= 4) {
    sum = std::rotl(sum ^ (read<std::uint32_t>(rest.data()) * prime_1), 23) * prime_2 + prime_3;
    rest = rest.subspan(4);
  }
  for (const std::byte byte : rest) {
    sum = std::rotl(sum ^ (std::to_integer<std::uint64_t>(byte) * prime_5), 11) * prime_1;
  }
  sum = (sum ^ (sum >> 33U)) * prime_2;
  sum = (sum ^ (sum >> 29U)) * prime_3;
  return sum ^ (sum >> 32U);
}

}  // namespace dualpipe
