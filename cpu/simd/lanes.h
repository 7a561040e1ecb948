// Vec: a vector of as many f32 lanes as the instruction set has, with the few operations that the kernels need. A
// kernel is written once for all instruction sets, in terms of Vec, and once for both activation types, by means of
// load and store.
//
// Each instruction set has a file that defines:
//   kLanes, Mask, Bits, Vec      Vec's operators, fma, max, min, comparisons, select, zip_low and zip_high
//   load, store                  of f32 and bf16, of all lanes or the first few
//   sum                          of a Vec's lanes
//   add_product(sum, a, b)       sum + a b, rounded like fma, for loops whose sums fill the registers: the sum stays in
//                                its register. Without it, GCC moves sums between registers and spills some of them to
//                                memory, which takes a sixth of a matrix product's time on AVX2
//
// For every instruction set:
// - Memory is f32 or bf16, arithmetic is f32. bf16 rounds to nearest even; NaN stays NaN.
// - A partial load fills the other lanes with zeros, and a partial store does not write memory beyond its lanes. The
//   arithmetic on the lanes is the same, so a tail element has the same bits as in a full vector.
// - fma rounds once if the hardware supports it (avx2, avx512), otherwise twice (portable).
// - max(a, b) and min(a, b) return b if either is NaN, so a clamp or relu written max(limit, x) keeps NaN.
// - Sums over lanes are added in a fixed order.

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

// The bits of each lane, rounded to the nearest bf16 with ties to even. The upper half of the lane is the bf16.
SANA_INLINE Bits round_to_bf16(Vec x) {
  const Bits b = bits(x);
  const Bits odd = (b >> 16) & Bits::splat(1);
  const Vec rounded = Vec::of(b + odd + Bits::splat(0x7fff));
  const Vec quiet_nan = Vec::of(b | Bits::splat(0x00400000));
  return bits(select(is_nan(x), quiet_nan, rounded));
}

// The given lanes; the others are zero.
SANA_INLINE Vec keep(Vec x, AllLanes) {
  return x;
}
SANA_INLINE Vec keep(Vec x, FirstLanes lanes) {
  float all[kLanes] = {};
  store(all, x, lanes);
  return load(all);
}

// Calls f(i, lanes) for i = 0, kLanes, 2 kLanes ... < count: with AllLanes, and with FirstLanes for the remainder at
// the end.
template <class F>
SANA_INLINE void for_each_vector(int64_t count, const F& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, AllLanes{});
  if (i < count) f(i, FirstLanes{static_cast<int>(count - i)});
}

// Transposes: rows[i] lane j becomes rows[j] lane i. Zipping the first half of the rows with the second half moves the
// top bit of the row number to the bottom of the lane number. After log2(kLanes) times all bits have moved.
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
