// Vectors of AVX-512 (F, BW, DQ, VL): sixteen lanes, with mask registers.

#pragma once

#include "cpu/simd/elements.h"
#include "cpu/simd/intrinsics.h"

namespace sana::cpu::SANA_ISA {

inline constexpr int kLanes = 16;
using Mask = __mmask16;

struct Bits {  // the lanes of a Vec as unsigned integers
  __m512i v;

  static SANA_INLINE Bits splat(uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
  friend SANA_INLINE Bits operator+(Bits a, Bits b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend SANA_INLINE Bits operator&(Bits a, Bits b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend SANA_INLINE Bits operator|(Bits a, Bits b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend SANA_INLINE Bits operator<<(Bits a, int n) { return {_mm512_slli_epi32(a.v, n)}; }
  friend SANA_INLINE Bits operator>>(Bits a, int n) { return {_mm512_srli_epi32(a.v, n)}; }
};

struct Vec {
  __m512 v;

  static SANA_INLINE Vec splat(float x) { return {_mm512_set1_ps(x)}; }
  static SANA_INLINE Vec of(Bits a) { return {_mm512_castsi512_ps(a.v)}; }
  friend SANA_INLINE Bits bits(Vec a) { return {_mm512_castps_si512(a.v)}; }
  friend SANA_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend SANA_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  friend SANA_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  friend SANA_INLINE Mask operator<(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
  friend SANA_INLINE Mask is_nan(Vec a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
  friend SANA_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m, no.v, yes.v)}; }
  // a0 b0 a1 b1 ... of the lower halves, and of the upper halves
  friend SANA_INLINE Vec zip_low(Vec a, Vec b) {
    return {
        _mm512_permutex2var_ps(a.v, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b.v)};
  }
  friend SANA_INLINE Vec zip_high(Vec a, Vec b) {
    return {_mm512_permutex2var_ps(a.v, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
                                   b.v)};
  }
};

SANA_INLINE Vec add_product(Vec sum, Vec a, Vec b) {
#if defined(__AVX512F__)
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
  return sum;
#else  // compiled with SIMDe
  return fma(a, b, sum);
#endif
}

// Adds the halves: lane i + lane (i + n/2), then n/4 ...
SANA_INLINE float sum(Vec x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

SANA_INLINE Vec times_power_of_two(Vec x, Vec n) {  // instead of the template in functions.h
  return {_mm512_scalef_ps(x.v, n.v)};
}

// ---- memory --------------------------------------------------------------------------------------------------------

SANA_INLINE Bits round_to_bf16(Vec);  // in lanes.h

SANA_INLINE Mask first(FirstLanes lanes) {
  return static_cast<Mask>((1u << lanes.count) - 1);
}

SANA_INLINE Vec load(const float* p, AllLanes = {}) {
  return {_mm512_loadu_ps(p)};
}
SANA_INLINE Vec load(const float* p, FirstLanes lanes) {
  return {_mm512_maskz_loadu_ps(first(lanes), p)};
}
SANA_INLINE void store(float* p, Vec x, AllLanes = {}) {
  _mm512_storeu_ps(p, x.v);
}
SANA_INLINE void store(float* p, Vec x, FirstLanes lanes) {
  _mm512_mask_storeu_ps(p, first(lanes), x.v);
}

SANA_INLINE Vec widen(__m256i halves) {
  return Vec::of(Bits{_mm512_cvtepu16_epi32(halves)} << 16);
}
SANA_INLINE __m256i narrow(Vec x) {
  return _mm512_cvtepi32_epi16((round_to_bf16(x) >> 16).v);
}

SANA_INLINE Vec load(const bf16* p, AllLanes = {}) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SANA_INLINE Vec load(const bf16* p, FirstLanes lanes) {
  return widen(_mm256_maskz_loadu_epi16(first(lanes), p));
}
SANA_INLINE void store(bf16* p, Vec x, AllLanes = {}) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(x));
}
SANA_INLINE void store(bf16* p, Vec x, FirstLanes lanes) {
  _mm256_mask_storeu_epi16(p, first(lanes), narrow(x));
}

}  // namespace sana::cpu::SANA_ISA
