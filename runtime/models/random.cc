#include "runtime/models/random.h"

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace dualpipe {
namespace {

// Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): the state steps by
// the golden ratio, and the output is this mix of the state (Stafford's variant 13).
constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15U;

std::uint64_t mixed(std::uint64_t state) {
  state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9U;
  state = (state ^ (state >> 27U)) * 0x94d049bb133111ebU;
  return state ^ (state >> 31U);
}

// FNV-1a, 64 bits.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char letter : name) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
  }
  return hash;
}

}  // namespace

RandomStream RandomStream::named(std::string_view name) const {
  return child(hash_of(name));
}

// Mixed once more than bits(), so that no child's key is a number that this stream hands out.
RandomStream RandomStream::child(std::uint64_t index) const {
  return {.key = mixed(~bits(index))};
}

std::uint64_t RandomStream::bits(std::uint64_t counter) const {
  return mixed(key + (counter + 1) * golden_ratio);
}

// Box and Muller (1958), the cosine half only: one value per counter costs two outputs and no
// state.
double RandomStream::normal(std::uint64_t counter) const {
  constexpr double unit = 0x1.0p-53;
  const double radius_bits = static_cast<double>((bits(2 * counter) >> 11U) + 1);  // never 0
  const double angle_bits = static_cast<double>(bits(2 * counter + 1) >> 11U);
  const double radius = std::sqrt(-2.0 * std::log(radius_bits * unit));
  return radius * std::cos(2.0 * std::numbers::pi * angle_bits * unit);
}

}  // namespace dualpipe
