#include "sim/random.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "costs/check.h"

namespace dualpipe {
namespace {

constexpr double ln_2_high = 0x1.62e42fefa38p-1;   // its last 13 bits are zero: k * this is exact
constexpr double ln_2_low = 0x1.ef35793c7673p-45;  // what is missing
constexpr std::uint64_t mantissa_mask = (std::uint64_t{1} << 52U) - 1;
constexpr std::uint64_t exponent_of_one = 1023;

// Highest power first.
template <std::size_t Count>
double polynomial(const std::array<double, Count>& coefficients, double x) {
  double sum = 0.0;
  for (const double coefficient : coefficients) {
    sum = sum * x + coefficient;
  }
  return sum;
}

// 2^power. Requires: the result is a normal number.
double power_of_two(std::int64_t power) {
  return std::bit_cast<double>((exponent_of_one + static_cast<std::uint64_t>(power)) << 52U);
}

// Numerator and denominator of the three pieces, from the paper; see the branches below.
constexpr std::array<double, 8> middle_above{2.5090809287301226727e+3, 3.3430575583588128105e+4,
                                             6.7265770927008700853e+4, 4.5921953931549871457e+4,
                                             1.3731693765509461125e+4, 1.9715909503065514427e+3,
                                             1.3314166789178437745e+2, 3.3871328727963666080e+0};
constexpr std::array<double, 8> middle_below{5.2264952788528545610e+3, 2.8729085735721942674e+4,
                                             3.9307895800092710610e+4, 2.1213794301586595867e+4,
                                             5.3941960214247511077e+3, 6.8718700749205790830e+2,
                                             4.2313330701600911252e+1, 1.0};
constexpr std::array<double, 8> near_above{7.74545014278341407640e-4, 2.27238449892691845833e-2,
                                           2.41780725177450611770e-1, 1.27045825245236838258e+0,
                                           3.64784832476320460504e+0, 5.76949722146069140550e+0,
                                           4.63033784615654529590e+0, 1.42343711074968357734e+0};
constexpr std::array<double, 8> near_below{1.05075007164441684324e-9, 5.47593808499534494600e-4,
                                           1.51986665636164571966e-2, 1.48103976427480074590e-1,
                                           6.89767334985100004550e-1, 1.67638483018380384940e+0,
                                           2.05319162663775882187e+0, 1.0};
constexpr std::array<double, 8> far_above{2.01033439929228813265e-7, 2.71155556874348757815e-5,
                                          1.24266094738807843860e-3, 2.65321895265761230930e-2,
                                          2.96560571828504891230e-1, 1.78482653991729133580e+0,
                                          5.46378491116411436990e+0, 6.65790464350110377720e+0};
constexpr std::array<double, 8> far_below{2.04426310338993978564e-15, 1.42151175831644588870e-7,
                                          1.84631831751005468180e-5,  7.86869131145613259100e-4,
                                          1.48753612908506148525e-2,  1.36929880922735805310e-1,
                                          5.99832206555887937690e-1,  1.0};

}  // namespace

std::uint64_t random_bits(std::uint64_t key, std::uint64_t counter) {
  std::uint64_t bits = key + (counter + 1) * 0x9e3779b97f4a7c15U;
  bits = (bits ^ (bits >> 30U)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27U)) * 0x94d049bb133111ebU;
  return bits ^ (bits >> 31U);
}

// x = k ln 2 + r with |r| <= ln(2) / 2, where 13 powers of r are enough.
double exponential(double x) {
  CHECK(x >= -700.0 && x <= 700.0);
  constexpr double one_over_ln_2 = 1.4426950408889634;
  constexpr std::array<double, 14> inverse_factorials{1.0 / 6227020800,
                                                      1.0 / 479001600,
                                                      1.0 / 39916800,
                                                      1.0 / 3628800,
                                                      1.0 / 362880,
                                                      1.0 / 40320,
                                                      1.0 / 5040,
                                                      1.0 / 720,
                                                      1.0 / 120,
                                                      1.0 / 24,
                                                      1.0 / 6,
                                                      1.0 / 2,
                                                      1.0,
                                                      1.0};
  const double scaled = x * one_over_ln_2;
  const std::int64_t k = static_cast<std::int64_t>(scaled + (scaled < 0.0 ? -0.5 : 0.5));
  const double whole = static_cast<double>(k);
  const double r = (x - whole * ln_2_high) - whole * ln_2_low;
  return polynomial(inverse_factorials, r) * power_of_two(k);
}

// x = 2^k m with m around 1; ln m = 2 artanh s, s = (m - 1) / (m + 1), |s| <= 0.172.
double logarithm(double x) {
  constexpr double sqrt_2 = 1.4142135623730951;
  constexpr std::array<double, 11> odd_reciprocals{1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15,
                                                   1.0 / 13, 1.0 / 11, 1.0 / 9,  1.0 / 7,
                                                   1.0 / 5,  1.0 / 3,  1.0};
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t exponent = bits >> 52U;  // sign and exponent
  CHECK(exponent > 0 && exponent < 2047);
  std::int64_t k = static_cast<std::int64_t>(exponent) - static_cast<std::int64_t>(exponent_of_one);
  double m = std::bit_cast<double>((bits & mantissa_mask) | (exponent_of_one << 52U));
  if (m > sqrt_2) {
    m *= 0.5;
    ++k;
  }
  const double s = (m - 1.0) / (m + 1.0);
  const double whole = static_cast<double>(k);
  return whole * ln_2_high + (2.0 * s * polynomial(odd_reciprocals, s * s) + whole * ln_2_low);
}

double standard_normal(std::uint64_t bits) {
  constexpr double quantum = 0x1p-53;
  const std::uint64_t quantile = bits >> 11U;  // of 2^53, taken at its middle
  const std::uint64_t mirrored = (std::uint64_t{1} << 53U) - 1 - quantile;
  const bool is_negative = quantile < mirrored;
  const double below = (static_cast<double>(is_negative ? quantile : mirrored) + 0.5) * quantum;
  const double q = 0.5 - below;
  double magnitude = 0.0;
  if (q <= 0.425) {
    const double r = 0.180625 - q * q;
    magnitude = q * polynomial(middle_above, r) / polynomial(middle_below, r);
  } else {
    const double r = std::sqrt(-logarithm(below));
    magnitude = r <= 5.0 ? polynomial(near_above, r - 1.6) / polynomial(near_below, r - 1.6)
                         : polynomial(far_above, r - 5.0) / polynomial(far_below, r - 5.0);
  }
  return is_negative ? -magnitude : magnitude;
}

double lognormal_factor(std::uint64_t bits, double sigma) {
  return exponential(sigma * standard_normal(bits) - sigma * sigma / 2.0);
}

}  // namespace dualpipe
