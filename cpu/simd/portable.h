// The compiler's portable vectors with four lanes, as SSE2 and NEON have. A mask is a vector whose lanes are all ones
// or all zeros.

#pragma once

#include "cpu/simd/elements.h"

namespace sana::cpu::SANA_ISA {

inline constexpr int kLanes = 4;
typedef float FourFloats __attribute__((vector_size(16)));
typedef uint32_t FourIntegers __attribute__((vector_size(16)));
typedef int32_t Mask __attribute__((vector_size(16)));

struct Bits {  // the lanes of a Vec as unsigned integers
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

SANA_INLINE Vec add_product(Vec sum, Vec a, Vec b) {
  return fma(a, b, sum);
}

// Adds the halves: lane i + lane (i + n/2), then n/4 ...
SANA_INLINE float sum(Vec x) {
  return (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]);
}

// ---- memory --------------------------------------------------------------------------------------------------------

SANA_INLINE Bits round_to_bf16(Vec);  // in lanes.h

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

}  // namespace sana::cpu::SANA_ISA
