// Vectors of AVX2 with FMA: eight lanes. A mask is a vector whose lanes are all ones or all zeros.

#pragma once

#include "cpu/simd/elements.h"
#include "cpu/simd/intrinsics.h"

namespace sana::cpu::SANA_ISA {

inline constexpr int kLanes = 8;
using Mask = __m256;

struct Bits {  // the lanes of a Vec as unsigned integers
  __m256i v;

  static SANA_INLINE Bits splat(uint32_t x) { return {_mm256_set1_epi32(static_cast<int>(x))}; }
  friend SANA_INLINE Bits operator+(Bits a, Bits b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend SANA_INLINE Bits operator&(Bits a, Bits b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend SANA_INLINE Bits operator|(Bits a, Bits b) { return {_mm256_or_si256(a.v, b.v)}; }
  friend SANA_INLINE Bits operator<<(Bits a, int n) { return {_mm256_slli_epi32(a.v, n)}; }
  friend SANA_INLINE Bits operator>>(Bits a, int n) { return {_mm256_srli_epi32(a.v, n)}; }
};

struct Vec {
  __m256 v;

  static SANA_INLINE Vec splat(float x) { return {_mm256_set1_ps(x)}; }
  static SANA_INLINE Vec of(Bits a) { return {_mm256_castsi256_ps(a.v)}; }
  friend SANA_INLINE Bits bits(Vec a) { return {_mm256_castps_si256(a.v)}; }
  friend SANA_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  friend SANA_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
  friend SANA_INLINE Mask operator<(Vec a, Vec b) { return _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ); }
  friend SANA_INLINE Mask is_nan(Vec a) { return _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q); }
  friend SANA_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm256_blendv_ps(no.v, yes.v, m)}; }
  // a0 b0 a1 b1 ... of the lower halves, and of the upper halves
  friend SANA_INLINE Vec zip_low(Vec a, Vec b) {
    return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x20)};
  }
  friend SANA_INLINE Vec zip_high(Vec a, Vec b) {
    return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x31)};
  }
};

SANA_INLINE Vec add_product(Vec sum, Vec a, Vec b) {
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
  return sum;
}

// Adds the halves: lane i + lane (i + n/2), then n/4 ...
SANA_INLINE float sum(Vec x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// ---- memory --------------------------------------------------------------------------------------------------------

SANA_INLINE Bits round_to_bf16(Vec);  // in lanes.h

SANA_INLINE __m256i first(FirstLanes lanes) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SANA_INLINE Vec load(const float* p, AllLanes = {}) {
  return {_mm256_loadu_ps(p)};
}
SANA_INLINE Vec load(const float* p, FirstLanes lanes) {
  return {_mm256_maskload_ps(p, first(lanes))};
}
SANA_INLINE void store(float* p, Vec x, AllLanes = {}) {
  _mm256_storeu_ps(p, x.v);
}
SANA_INLINE void store(float* p, Vec x, FirstLanes lanes) {
  _mm256_maskstore_ps(p, first(lanes), x.v);
}

SANA_INLINE Vec widen(__m128i halves) {
  return Vec::of(Bits{_mm256_cvtepu16_epi32(halves)} << 16);
}
SANA_INLINE __m128i narrow(Vec x) {
  const __m256i halves = (round_to_bf16(x) >> 16).v;
  return _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

SANA_INLINE Vec load(const bf16* p, AllLanes = {}) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SANA_INLINE Vec load(const bf16* p, FirstLanes lanes) {
  bf16 all[kLanes] = {};
  for (int i = 0; i < lanes.count; ++i) all[i] = p[i];
  return load(all);
}
SANA_INLINE void store(bf16* p, Vec x, AllLanes = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(x));
}
SANA_INLINE void store(bf16* p, Vec x, FirstLanes lanes) {
  bf16 all[kLanes];
  store(all, x);
  for (int i = 0; i < lanes.count; ++i) p[i] = all[i];
}

}  // namespace sana::cpu::SANA_ISA
