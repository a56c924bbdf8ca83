// Random numbers that are the same on every machine, in any order and on any number of threads:
// draw `counter` of stream `key` is a function of these two alone. The standard library's
// distributions differ from one library to another, and so do the last bits of its logarithms; what
// is here takes nothing but the four operations and square roots, which IEEE 754 fixes to the last
// bit.

#pragma once

#include <cstdint>

namespace dualpipe {

// 64 bits that look random: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), entered anywhere.
[[nodiscard]] std::uint64_t random_bits(std::uint64_t key, std::uint64_t counter);

// A standard normal number, by the inverse of its distribution (Wichura, algorithm AS 241, 1988),
// between -8.3 and 8.3, because one of 2^53 quantiles is taken.
[[nodiscard]] double standard_normal(std::uint64_t bits);

// exp(sigma z - sigma^2 / 2): a factor whose mean is 1, and whose logarithm has deviation sigma.
[[nodiscard]] double lognormal_factor(std::uint64_t bits, double sigma);

// e^x, to within 2e-16 of itself. Requires: |x| <= 700.
[[nodiscard]] double exponential(double x);

// ln x, to within 1e-15. Requires: x is a normal number above 0.
[[nodiscard]] double logarithm(double x);

}  // namespace dualpipe
