#include "runtime/checksum.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

constexpr std::uint64_t seed = 0x0123'4567'89ab'cdef;

// Byte k is 131 k + 7 modulo 256.
std::vector<std::byte> example(std::size_t bytes) {
  std::vector<std::byte> text;
  for (std::size_t k = 0; k < bytes; ++k) {
    text.push_back(static_cast<std::byte>((131 * k + 7) % 256));
  }
  return text;
}

// What xxHash's own library, 0.8.1, says: every kind of rest, with and without whole stripes.
TEST(Checksum, IsThatOfTheReferenceImplementation) {
  struct Case {
    std::size_t bytes;
    std::uint64_t unseeded;
    std::uint64_t seeded;
  };
  for (const Case& known : std::vector<Case>{
           {0, 0xef46db3751d8e999, 0x51e24c0e9077a48c},
           {1, 0xa96c7f0ce858bbb7, 0x63f3595cc59f5425},
           {4, 0xfa212ae44b3bb23d, 0xaf87cb9fea57b444},
           {7, 0x2744460dd675d2c0, 0xbb72b234e29ecbc8},
           {8, 0x994b676b71ce94dd, 0x2973a98413b92ac7},
           {31, 0x6711d55e306b5d8f, 0x7c3c27bb6bc30d89},
           {32, 0x7f7b8e3bc5d6e25, 0x8519ae048355104f},
           {33, 0x9f85eeb4e1cbe9f, 0x493b081beae9e600},
           {63, 0xb7c9968c066cb6a5, 0x9d4f8c8e4efbebb6},
           {64, 0x50d4159a0411632e, 0x4eac01289e3bba7f},
           {100, 0x9ddada11d3dc2d8f, 0xa6436d517df6f2ff},
           {1000, 0xbf0bdbcc82eb373, 0x132fec6c5c54ae04},
       }) {
    EXPECT_EQ(checksum_of(example(known.bytes)), known.unseeded) << known.bytes;
    EXPECT_EQ(checksum_of(example(known.bytes), seed), known.seeded) << known.bytes;
  }
}

TEST(Checksum, FindsEverySingleBit) {
  std::vector<std::byte> bytes = example(77);
  std::set<std::uint64_t> sums{checksum_of(bytes)};
  for (std::byte& byte : bytes) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      byte ^= std::byte{1} << bit;
      sums.insert(checksum_of(bytes));
      byte ^= std::byte{1} << bit;
    }
  }
  EXPECT_EQ(sums.size(), 1 + 77 * 8U);
}

TEST(Checksum, NeedsNoAlignment) {
  const std::vector<std::byte> bytes = example(101);
  const std::vector<std::byte> tail(bytes.begin() + 1, bytes.end());
  EXPECT_EQ(checksum_of(std::span(bytes).subspan(1)), checksum_of(tail));
}

}  // namespace
}  // namespace dualpipe
