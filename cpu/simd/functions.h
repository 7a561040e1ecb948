// The elementary functions on Vec. The error is below 2e-7 relative to the result if that is a normal number (gelu:
// relative to max(|result|, 0.02)). The limits at both ends are correct, and only NaN gives NaN.

#pragma once

#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

SANA_INLINE Vec round_to_integer(Vec x) {  // |x| < 2^22
  const Vec shift = splat(12582912.0f);    // 1.5 * 2^23: adding it rounds to an integer
  return (x + shift) - shift;
}

// x 2^n for an integer n in [-150, 128], rounded once even if the result is subnormal. AVX-512 has an instruction for
// it. Others multiply by two factors, because 2^n may not be a normal number. Adding 2^23 + 127 leaves n + 127, the
// exponent field of 2^n, in the low bits of the significand.
template <class V>
SANA_INLINE V times_power_of_two(V x, V n) {
  const V half = round_to_integer(n * splat(0.5f));
  const V first = V::of(bits(half + splat(8388608.0f + 127.0f)) << 23);
  const V second = V::of(bits(n - half + splat(8388608.0f + 127.0f)) << 23);
  return x * first * second;
}

SANA_INLINE Vec exp(Vec x) {
  // exp(x) = 2^n exp(r), r = x - n ln 2 in [-0.35, 0.35], with ln 2 in two parts, so that n times the first part is
  // exact. The clamps are where the result is infinite or rounds to zero anyway; they keep NaN.
  x = max(splat(-104.0f), min(splat(89.0f), x));
  const Vec n = round_to_integer(x * splat(1.44269504f));
  const Vec r = fma(n, splat(2.12194440e-4f), fma(n, splat(-0.693359375f), x));
  Vec p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + splat(1.0f);
  return times_power_of_two(p, n);
}

SANA_INLINE Vec tanh(Vec x) {
  const Vec z = x * x;
  Vec p = splat(-5.70498872745e-3f);
  p = fma(p, z, splat(2.06390887954e-2f));
  p = fma(p, z, splat(-5.37397155531e-2f));
  p = fma(p, z, splat(1.33314422036e-1f));
  p = fma(p, z, splat(-3.33332819422e-1f));
  const Vec near_zero = fma(p * z, x, x);
  const Vec magnitude = splat(1.0f) - splat(2.0f) / (exp(abs(x) * splat(2.0f)) + splat(1.0f));
  return select(abs(x) < splat(0.625f), near_zero, with_sign_of(magnitude, x));
}

SANA_INLINE Vec sigmoid(Vec x) {
  return splat(1.0f) / (splat(1.0f) + exp(zero() - x));
}

// x * sigmoid(t). finite / infinite = 0 is the limit, so x = -infinity is replaced by the lowest finite number.
SANA_INLINE Vec gated_by_sigmoid(Vec x, Vec t) {
  return max(splat(-3.402823466e38f), x) / (splat(1.0f) + exp(zero() - t));
}

SANA_INLINE Vec silu(Vec x) {
  return gated_by_sigmoid(x, x);
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the second form has no cancellation for x
// < 0.
SANA_INLINE Vec gelu_tanh(Vec x) {
  const Vec twice_u = x * fma(x * x, splat(1.5957691216f * 0.044715f), splat(1.5957691216f));
  return gated_by_sigmoid(x, twice_u);
}

SANA_INLINE Vec relu(Vec x) {
  return max(zero(), x);
}

}  // namespace sana::cpu::SANA_ISA
