// Vectors of 32-bit integer lanes: four signed bytes, two signed 16-bit halves, or one sum. Products of i8 are built
// from these operations on every instruction set; all are exact.

#pragma once

#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

// nearest_bytes  4 kLanes floats rounded to nearest even, as bytes in the same order
// even_bytes     bytes 0 and 2 of each lane, widened to its halves; odd_bytes: bytes 1 and 3
// add_products   sum + the products of both halves
// to_floats      converted to f32, rounded to nearest even

// GCC may reorder integer sums: it computes all products first, which needs more registers than there are. The empty
// asm counts as a use of the sum and prevents that.
SANA_INLINE Bits in_order(Bits sum) {
#if defined(__AVX512F__)
  asm("" : "+v"(sum.v));
#elif defined(SANA_AVX2) || (defined(__SSE2__) && !defined(SANA_AVX512))
  asm("" : "+x"(sum.v));
#elif defined(__aarch64__)
  asm("" : "+w"(sum.v));
#endif
  return sum;
}

#if defined(SANA_AVX512)

SANA_INLINE Bits nearest_bytes(const Vec (&x)[4]) {
  __m128i bytes[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) bytes[i] = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x[i].v));
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes[0]), bytes[1], 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes[2]), bytes[3], 1);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)};
}
SANA_INLINE Bits even_bytes(Bits bytes) {
  return {_mm512_srai_epi16(_mm512_slli_epi16(bytes.v, 8), 8)};
}
SANA_INLINE Bits odd_bytes(Bits bytes) {
  return {_mm512_srai_epi16(bytes.v, 8)};
}
SANA_INLINE Bits add_products(Bits sum, Bits a, Bits b) {
  return in_order(sum + Bits{_mm512_madd_epi16(a.v, b.v)});
}
SANA_INLINE Vec to_floats(Bits integers) {
  return {_mm512_cvtepi32_ps(integers.v)};
}

#elif defined(SANA_AVX2)

SANA_INLINE Bits nearest_bytes(const Vec (&x)[4]) {
  const __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0].v), _mm256_cvtps_epi32(x[1].v));
  const __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(x[2].v), _mm256_cvtps_epi32(x[3].v));
  // The pack instructions work on 128-bit halves: the lanes now hold groups 0 2 4 6 | 1 3 5 7 of four elements.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return {_mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order)};
}
SANA_INLINE Bits even_bytes(Bits bytes) {
  return {_mm256_srai_epi16(_mm256_slli_epi16(bytes.v, 8), 8)};
}
SANA_INLINE Bits odd_bytes(Bits bytes) {
  return {_mm256_srai_epi16(bytes.v, 8)};
}
SANA_INLINE Bits add_products(Bits sum, Bits a, Bits b) {
  return in_order(sum + Bits{_mm256_madd_epi16(a.v, b.v)});
}
SANA_INLINE Vec to_floats(Bits integers) {
  return {_mm256_cvtepi32_ps(integers.v)};
}

#else

typedef int32_t SignedIntegers __attribute__((vector_size(16)));
typedef int16_t SignedHalves __attribute__((vector_size(16)));

SANA_INLINE Bits nearest_bytes(const Vec (&x)[4]) {
  Bits bytes = Bits::splat(0);
  for (int i = 0; i < 4; ++i) {
    const FourIntegers q = (bits(x[i] + splat(12582912.0f)) & Bits::splat(0xff)).v;  // as in round_to_integer
    bytes.v[i] = q[0] | q[1] << 8 | q[2] << 16 | q[3] << 24;
  }
  return bytes;
}
SANA_INLINE Bits even_bytes(Bits bytes) {
  return {reinterpret_cast<FourIntegers>(reinterpret_cast<SignedHalves>(bytes.v) << 8 >> 8)};
}
SANA_INLINE Bits odd_bytes(Bits bytes) {
  return {reinterpret_cast<FourIntegers>(reinterpret_cast<SignedHalves>(bytes.v) >> 8)};
}
SANA_INLINE Bits add_products(Bits sum, Bits a, Bits b) {
  const SignedIntegers x = reinterpret_cast<SignedIntegers>(a.v), y = reinterpret_cast<SignedIntegers>(b.v);
  const SignedIntegers products = (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
  return sum + Bits{reinterpret_cast<FourIntegers>(products)};
}
SANA_INLINE Vec to_floats(Bits integers) {
  return {__builtin_convertvector(reinterpret_cast<SignedIntegers>(integers.v), FourFloats)};
}

#endif

}  // namespace sana::cpu::SANA_ISA
