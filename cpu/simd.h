// Vec: as many f32 lanes as the instruction set has, with the few operations that the kernels need, and the elementary
// functions on it. Kernels are written once over Vec, and once for both activation types through load and store.
//
// What holds for every instruction set:
// - Memory is f32 or bf16, arithmetic is f32. bf16 rounds to nearest even; NaN stays NaN.
// - A partial load fills the other lanes with zeros and a partial store leaves memory beyond it alone; the lanes
//   themselves see the very same arithmetic, so a tail element has the bits that it would have in a full vector.
// - fma is one rounding where the hardware has it (avx2, avx512) and two where it has not (portable).
// - max(a, b) and min(a, b) give b when either is NaN, so a clamp or relu written max(limit, x) keeps NaN.
// - Sums over lanes add in one fixed order.
//
// Elementary functions: relative error below 2e-7 where the result is a normal number (gelu: of max(|result|, 0.02)),
// right limits at both ends, NaN only for NaN.

#pragma once

#include <stdint.h>
#include <string.h>

#if defined(SANA_ISA_avx512) || defined(SANA_ISA_avx512bf16)
#define SANA_AVX512 1
#elif defined(SANA_ISA_avx2)
#define SANA_AVX2 1
#endif

#if defined(SANA_AVX512) || defined(SANA_AVX2)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms about the header's undefined vectors (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define SANA_INLINE inline __attribute__((always_inline))

namespace sana::cpu::SANA_ISA {

struct bf16 {
  uint16_t bits;
};

// ---- lanes ---------------------------------------------------------------------------------------------------------

#if defined(SANA_AVX512)

inline constexpr int kLanes = 16;
using Mask = __mmask16;

struct Bits {  // a Vec's lanes as unsigned integers
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

#elif defined(SANA_AVX2)

inline constexpr int kLanes = 8;
using Mask = __m256;

struct Bits {  // a Vec's lanes as unsigned integers
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

#else

// Four lanes: what SSE2 and NEON have.
inline constexpr int kLanes = 4;
typedef float FourFloats __attribute__((vector_size(16)));
typedef uint32_t FourIntegers __attribute__((vector_size(16)));
typedef int32_t Mask __attribute__((vector_size(16)));

struct Bits {  // a Vec's lanes as unsigned integers
  FourIntegers v;

  static SANA_INLINE Bits splat(uint32_t x) { return {FourIntegers{x, x, x, x}}; }
  friend SANA_INLINE Bits operator+(Bits a, Bits b) { return {a.v + b.v}; }
  friend SANA_INLINE Bits operator&(Bits a, Bits b) { return {a.v & b.v}; }
  friend SANA_INLINE Bits operator|(Bits a, Bits b) { return {a.v | b.v}; }
  friend SANA_INLINE Bits operator<<(Bits a, int n) { return {a.v << n}; }
  friend SANA_INLINE Bits operator>>(Bits a, int n) { return {a.v >> n}; }
};

struct Vec {
  FourFloats v;

  static SANA_INLINE Vec splat(float x) { return {FourFloats{x, x, x, x}}; }
  static SANA_INLINE Vec of(Bits a) { return {reinterpret_cast<FourFloats>(a.v)}; }
  friend SANA_INLINE Bits bits(Vec a) { return {reinterpret_cast<FourIntegers>(a.v)}; }
  friend SANA_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend SANA_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend SANA_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend SANA_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend SANA_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
  friend SANA_INLINE Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  friend SANA_INLINE Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  friend SANA_INLINE Mask operator<(Vec a, Vec b) { return a.v < b.v; }
  friend SANA_INLINE Mask is_nan(Vec a) { return a.v != a.v; }
  friend SANA_INLINE Vec select(Mask m, Vec yes, Vec no) { return {m ? yes.v : no.v}; }
  // a0 b0 a1 b1 ... of the lower halves, and of the upper halves
  friend SANA_INLINE Vec zip_low(Vec a, Vec b) { return {__builtin_shufflevector(a.v, b.v, 0, 4, 1, 5)}; }
  friend SANA_INLINE Vec zip_high(Vec a, Vec b) { return {__builtin_shufflevector(a.v, b.v, 2, 6, 3, 7)}; }
};

#endif

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

// sum + a * b as fma has it, for loops whose sums fill the registers: the sum stays in the register that it is in. GCC,
// free to choose, moves sums about and puts some of them into memory: on AVX2 a sixth of a matrix product's time.
SANA_INLINE Vec add_product(Vec sum, Vec a, Vec b) {
#if defined(SANA_AVX512) && defined(__AVX512F__)
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
  return sum;
#elif defined(SANA_AVX2)
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
  return sum;
#else
  return fma(a, b, sum);
#endif
}

// Each lane's bits rounded to the nearest bf16, ties to even: the upper half of the lane is the bf16.
SANA_INLINE Bits round_to_bf16(Vec x) {
  const Bits b = bits(x);
  const Bits odd = (b >> 16) & Bits::splat(1);
  const Vec rounded = Vec::of(b + odd + Bits::splat(0x7fff));
  const Vec quiet_nan = Vec::of(b | Bits::splat(0x00400000));
  return bits(select(is_nan(x), quiet_nan, rounded));
}

// ---- memory --------------------------------------------------------------------------------------------------------

// Which lanes a load or store touches: all of them, or the first `count` (0 <= count <= kLanes).
struct AllLanes {};
struct FirstLanes {
  int count;
};

#if defined(SANA_AVX512)

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

#elif defined(SANA_AVX2)

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

#else

SANA_INLINE Vec load(const float* p, AllLanes = {}) {
  Vec x;
  memcpy(&x.v, p, sizeof x.v);
  return x;
}
SANA_INLINE void store(float* p, Vec x, AllLanes = {}) {
  memcpy(p, &x.v, sizeof x.v);
}
SANA_INLINE Vec load(const bf16* p, AllLanes = {}) {
  return Vec::of(Bits{{p[0].bits, p[1].bits, p[2].bits, p[3].bits}} << 16);
}
SANA_INLINE void store(bf16* p, Vec x, AllLanes = {}) {
  const FourIntegers halves = (round_to_bf16(x) >> 16).v;
  for (int i = 0; i < kLanes; ++i) p[i].bits = static_cast<uint16_t>(halves[i]);
}

template <class T>
SANA_INLINE Vec load(const T* p, FirstLanes lanes) {
  T all[kLanes] = {};
  for (int i = 0; i < lanes.count; ++i) all[i] = p[i];
  return load(all);
}
template <class T>
SANA_INLINE void store(T* p, Vec x, FirstLanes lanes) {
  T all[kLanes];
  store(all, x);
  for (int i = 0; i < lanes.count; ++i) p[i] = all[i];
}

#endif

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

// ---- single elements -----------------------------------------------------------------------------------------------

SANA_INLINE float to_float(float x) {
  return x;
}
SANA_INLINE float to_float(bf16 x) {
  const uint32_t b = static_cast<uint32_t>(x.bits) << 16;
  float y;
  memcpy(&y, &b, sizeof y);
  return y;
}
SANA_INLINE void set(float* p, float x) {
  *p = x;
}
SANA_INLINE void set(bf16* p, float x) {
  uint32_t b;
  memcpy(&b, &x, sizeof b);
  p->bits = static_cast<uint16_t>(x != x ? b >> 16 | 0x40 : (b + 0x7fff + (b >> 16 & 1)) >> 16);
}

// ---- across lanes ---------------------------------------------------------------------------------------------------

// Halves are folded onto each other: lane i + lane i + n/2, then n/4 ...
SANA_INLINE float sum(Vec x) {
#if defined(SANA_AVX512) || defined(SANA_AVX2)
#if defined(SANA_AVX512)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
#else
  const __m256 eight = x.v;
#endif
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  return (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]);
#endif
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

// ---- elementary functions ------------------------------------------------------------------------------------------

SANA_INLINE Vec round_to_integer(Vec x) {  // |x| < 2^22
  const Vec shift = splat(12582912.0f);    // 1.5 * 2^23: what lies right of the point is rounded off
  return (x + shift) - shift;
}

// x 2^n for a whole n in [-150, 128], rounded once also where the result is subnormal.
SANA_INLINE Vec times_power_of_two(Vec x, Vec n) {
#if defined(SANA_AVX512)
  return {_mm512_scalef_ps(x.v, n.v)};
#else
  // In two factors, as 2^n itself may not be a normal number. Adding 2^23 + 127 leaves n + 127 in the low bits of the
  // significand: the exponent field of 2^n.
  const Vec half = round_to_integer(n * splat(0.5f));
  const Vec first = Vec::of(bits(half + splat(8388608.0f + 127.0f)) << 23);
  const Vec second = Vec::of(bits(n - half + splat(8388608.0f + 127.0f)) << 23);
  return x * first * second;
#endif
}

SANA_INLINE Vec exp(Vec x) {
  // exp(x) = 2^n exp(r), r = x - n ln 2 in [-0.35, 0.35], ln 2 in two parts of which n times the first is exact. The
  // clamps lie where the result is infinite or rounds to zero anyway; NaN passes through them.
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

// x * sigmoid(t): finite / infinite = 0 is the limit, so x = -infinity counts as the least finite number.
SANA_INLINE Vec gated_by_sigmoid(Vec x, Vec t) {
  return max(splat(-3.402823466e38f), x) / (splat(1.0f) + exp(zero() - t));
}

SANA_INLINE Vec silu(Vec x) {
  return gated_by_sigmoid(x, x);
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the second form does not cancel for x < 0.
SANA_INLINE Vec gelu_tanh(Vec x) {
  const Vec twice_u = x * fma(x * x, splat(1.5957691216f * 0.044715f), splat(1.5957691216f));
  return gated_by_sigmoid(x, twice_u);
}

SANA_INLINE Vec relu(Vec x) {
  return max(zero(), x);
}

}  // namespace sana::cpu::SANA_ISA
