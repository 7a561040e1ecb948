// Vec: as many f32 lanes as the instruction set has, with the few operations that the kernels need. Kernels are written
// once over Vec, and once for both activation types through load and store.
//
// Each instruction set defines in a file of its own:
//   kLanes, Mask, Bits, Vec      Vec's operators, fma, max, min, comparisons, select, zip_low and zip_high
//   load, store                  of f32 and bf16, of all lanes or the first few
//   sum                          of a Vec's lanes
//   add_product(sum, a, b)       sum + a b as fma has it, for loops whose sums fill the registers: the sum stays in the
//                                register that it is in. GCC, free to choose, moves sums about and puts some of them
//                                into memory: on AVX2 a sixth of a matrix product's time
//
// What holds for every instruction set:
// - Memory is f32 or bf16, arithmetic is f32. bf16 rounds to nearest even; NaN stays NaN.
// - A partial load fills the other lanes with zeros and a partial store leaves memory beyond it alone; the lanes
//   themselves see the very same arithmetic, so a tail element has the bits that it would have in a full vector.
// - fma is one rounding where the hardware has it (avx2, avx512) and two where it has not (portable).
// - max(a, b) and min(a, b) give b when either is NaN, so a clamp or relu written max(limit, x) keeps NaN.
// - Sums over lanes add in one fixed order.

#pragma once

#if defined(SANA_ISA_avx512) || defined(SANA_ISA_avx512bf16)
#define SANA_AVX512 1
#include "cpu/simd/avx512.h"
#elif defined(SANA_ISA_avx2)
#define SANA_AVX2 1
#include "cpu/simd/avx2.h"
#else
#include "cpu/simd/portable.h"
#endif

namespace sana::cpu::SANA_ISA {

SANA_INLINE Vec splat(float x) {
  return Vec::splat(x);
}
SANA_INLINE Vec zero() {
  return Vec::splat(0.0f);
}
SANA_INLINE Vec abs(Vec x) {
  return Vec::of(bits(x) & Bits::splat(0x7fffffff));
}
SANA_INLINE Vec with_sign_of(Vec magnitude, Vec sign) {
  return Vec::of(bits(magnitude) | (bits(sign) & Bits::splat(0x80000000u)));
}

// Each lane's bits rounded to the nearest bf16, ties to even: the upper half of the lane is the bf16.
SANA_INLINE Bits round_to_bf16(Vec x) {
  const Bits b = bits(x);
  const Bits odd = (b >> 16) & Bits::splat(1);
  const Vec rounded = Vec::of(b + odd + Bits::splat(0x7fff));
  const Vec quiet_nan = Vec::of(b | Bits::splat(0x00400000));
  return bits(select(is_nan(x), quiet_nan, rounded));
}

// The lanes named, the others zero.
SANA_INLINE Vec keep(Vec x, AllLanes) {
  return x;
}
SANA_INLINE Vec keep(Vec x, FirstLanes lanes) {
  float all[kLanes] = {};
  store(all, x, lanes);
  return load(all);
}

// Calls f(i, lanes) for i = 0, kLanes, 2 kLanes ... < count: with AllLanes, and FirstLanes for what is left at the end.
template <class F>
SANA_INLINE void for_each_vector(int64_t count, const F& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, AllLanes{});
  if (i < count) f(i, FirstLanes{static_cast<int>(count - i)});
}

// rows[i] lane j becomes rows[j] lane i. Zipping the first half of the rows with the second brings the top bit of the
// row number to the bottom of the lane number; after log2(kLanes) times all bits have changed places.
SANA_INLINE void transpose_lanes(Vec (&rows)[kLanes]) {
#pragma GCC unroll 4
  for (int bits = 1; bits < kLanes; bits *= 2) {
    Vec zipped[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      zipped[2 * i] = zip_low(rows[i], rows[i + kLanes / 2]);
      zipped[2 * i + 1] = zip_high(rows[i], rows[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) rows[i] = zipped[i];
  }
}

}  // namespace sana::cpu::SANA_ISA
