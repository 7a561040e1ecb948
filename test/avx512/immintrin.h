// Replaces the compiler's header when the AVX-512 kernels are built for machines without AVX-512: SIMDe's portable
// implementations under the names of the intrinsics, and plain loops for those that SIMDe 0.7 lacks.

#pragma once

#define SIMDE_NO_NATIVE  // nor the compiler's header, whose types have the same names
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <stdint.h>
#include <string.h>

using __mmask16 = simde__mmask16;

// SIMDe 0.7's alias has the parameters of the masked version.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)

namespace avx512 {

template <class T, int N>
struct Lanes {
  T lane[N];

  template <class Vector>
  static Lanes of(Vector vector) {
    static_assert(sizeof(Vector) == sizeof(Lanes));
    Lanes lanes;
    memcpy(&lanes, &vector, sizeof lanes);
    return lanes;
  }

  template <class Vector>
  Vector as() const {
    static_assert(sizeof(Vector) == sizeof(Lanes));
    Vector vector;
    memcpy(&vector, lane, sizeof vector);
    return vector;
  }
};

// Lane by lane: f of a vector of T is a vector of U.
template <class To, class T, class U, int N, class From, class F>
static inline To map(From from, const F& f) {
  const Lanes<T, N> x = Lanes<T, N>::of(from);
  Lanes<U, N> y;
  for (int i = 0; i < N; ++i) y.lane[i] = f(x.lane[i]);
  return y.template as<To>();
}

template <class Vector, class T, int N>
static inline Vector load(unsigned mask, const void* from) {
  Lanes<T, N> lanes = {};
  for (int i = 0; i < N; ++i) {
    if (mask >> i & 1) memcpy(&lanes.lane[i], static_cast<const T*>(from) + i, sizeof(T));
  }
  return lanes.template as<Vector>();
}

template <class T, int N, class Vector>
static inline void store(void* to, unsigned mask, Vector vector) {
  const Lanes<T, N> lanes = Lanes<T, N>::of(vector);
  for (int i = 0; i < N; ++i) {
    if (mask >> i & 1) memcpy(static_cast<T*>(to) + i, &lanes.lane[i], sizeof(T));
  }
}

}  // namespace avx512

static inline __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void* from) {
  return avx512::load<__m512, float, 16>(mask, from);
}
static inline void _mm512_mask_storeu_ps(void* to, __mmask16 mask, __m512 x) {
  avx512::store<float, 16>(to, mask, x);
}
static inline __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void* from) {
  return avx512::load<__m256i, int16_t, 16>(mask, from);
}
static inline void _mm256_mask_storeu_epi16(void* to, __mmask16 mask, __m256i x) {
  avx512::store<int16_t, 16>(to, mask, x);
}
static inline __m512i _mm512_cvtepu16_epi32(__m256i x) {
  return avx512::map<__m512i, uint16_t, uint32_t, 16>(x, [](uint16_t v) { return uint32_t{v}; });
}
static inline __m256i _mm512_cvtepi32_epi16(__m512i x) {
  return avx512::map<__m256i, uint32_t, uint16_t, 16>(x, [](uint32_t v) { return static_cast<uint16_t>(v); });
}
static inline __m128i _mm512_cvtepi32_epi8(__m512i x) {
  return avx512::map<__m128i, uint32_t, uint8_t, 16>(x, [](uint32_t v) { return static_cast<uint8_t>(v); });
}
static inline __m512 _mm512_cvtepi32_ps(__m512i x) {
  return avx512::map<__m512, int32_t, float, 16>(x, [](int32_t v) { return static_cast<float>(v); });
}
static inline __m512i _mm512_cvtps_epi32(__m512 x) {
  return avx512::map<__m512i, float, int32_t, 16>(
      x, [](float v) { return v >= -0x1p31f && v < 0x1p31f ? static_cast<int32_t>(lrintf(v)) : INT32_MIN; });
}
static inline __m256 _mm512_extractf32x8_ps(__m512 x, int half) {
  const auto lanes = avx512::Lanes<float, 16>::of(x);
  __m256 part;
  memcpy(&part, lanes.lane + 8 * half, sizeof part);
  return part;
}
static inline float _mm512_reduce_add_ps(__m512 x) {
  const auto lanes = avx512::Lanes<float, 16>::of(x);
  float sum = 0;
  for (const float lane : lanes.lane) sum += lane;
  return sum;
}

// SIMDe's version flushes subnormal numbers.
#undef _mm512_scalef_ps
static inline __m512 _mm512_scalef_ps(__m512 x, __m512 power) {
  const auto powers = avx512::Lanes<float, 16>::of(power);
  int i = 0;
  return avx512::map<__m512, float, float, 16>(
      x, [&](float v) { return ldexpf(v, static_cast<int>(floorf(powers.lane[i++]))); });
}
