// The contents of a 32-bit lane of packed weights (cpu/pack.h), and how activations are staged for it and multiplied by
// it.
//
//   kElements   inputs per lane of weights
//   kStaged     staged lanes per lane of weights
//   kStageCost  the cost of staging them, relative to 8 for multiplying one by 32 columns (see cost in matrix.cc)
//   kScaled     rows are staged as bytes with one scale per row, and sums are integers
//   stage       writes a row's inputs to its lanes; may write whole vectors
//   step        for one lane of weights: sums[i][j] += inputs of row i * weights of column vector j

#pragma once

#include "cpu/kernels/byte_lanes.h"
#include "cpu/pack.h"
#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

// ---- f32 -----------------------------------------------------------------------------------------------------------

struct F32Product {
  static constexpr int kElements = 1, kStaged = 1, kStageCost = kLanes == 16 ? 2 : 6;
  static constexpr bool kScaled = false;

  static SANA_INLINE void stage(float* lanes, const float* x, int64_t count) { memcpy(lanes, x, count * sizeof *x); }

  template <int kRows>
  static SANA_INLINE void step(const float* const* rows, int64_t pitch, int64_t k, const float* w,
                               Vec (&sums)[kRows][2]) {
    const Vec w0 = load(w), w1 = load(w + kLanes);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Vec x = splat(rows[i / 3][i % 3 * pitch + k]);
      sums[i][0] = add_product(sums[i][0], x, w0);
      sums[i][1] = add_product(sums[i][1], x, w1);
    }
  }
};

// ---- bf16 ----------------------------------------------------------------------------------------------------------

#ifdef SANA_ISA_avx512bf16

// sum + a b of the two bf16 in each lane of a and b.
SANA_INLINE Vec add_pair_products(Vec sum, Vec a, Vec b) {
#if defined(__clang__) && defined(__AVX512BF16__)
  // Clang 16 crashes on the intrinsic where an operand is a broadcast from memory.
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
  return sum;
#else
  return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
#endif
}

// Pairs stay bf16: one instruction multiplies both and adds them to the f32 sum.
struct BF16Product {
  static constexpr int kElements = 2, kStaged = 1, kStageCost = 2;
  static constexpr bool kScaled = false;

  static SANA_INLINE void stage(float* lanes, const bf16* x, int64_t count) {
    memcpy(lanes, x, count * sizeof *x);
    if (count % 2) memset(reinterpret_cast<char*>(lanes) + count * sizeof *x, 0, sizeof *x);
  }

  template <int kRows>
  static SANA_INLINE void step(const float* const* rows, int64_t pitch, int64_t k, const float* w,
                               Vec (&sums)[kRows][2]) {
    const Vec w0 = load(w), w1 = load(w + kLanes);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Vec x = splat(rows[i / 3][i % 3 * pitch + k]);
      sums[i][0] = add_pair_products(sums[i][0], x, w0);
      sums[i][1] = add_pair_products(sums[i][1], x, w1);
    }
  }
};

#else

// Activations are widened when they are staged, pairs of weights here: the even inputs, then the odd ones.
struct BF16Product {
  static constexpr int kElements = 2, kStaged = 2, kStageCost = 12;
  static constexpr bool kScaled = false;

  static SANA_INLINE void stage(float* lanes, const bf16* x, int64_t count) {
    for_each_vector(count, [&](int64_t i, auto some) { store(lanes + i, load(x + i, some), some); });
    if (count % 2) lanes[count] = 0.0f;
  }

  template <int kRows>
  static SANA_INLINE void step(const float* const* rows, int64_t pitch, int64_t k, const float* w,
                               Vec (&sums)[kRows][2]) {
    const Bits pair0 = bits(load(w)), pair1 = bits(load(w + kLanes));
    const Vec even0 = Vec::of(pair0 << 16), even1 = Vec::of(pair1 << 16);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Vec x = splat(rows[i / 3][i % 3 * pitch + 2 * k]);
      sums[i][0] = add_product(sums[i][0], x, even0);
      sums[i][1] = add_product(sums[i][1], x, even1);
    }
    const Bits upper = Bits::splat(0xffff0000u);
    const Vec odd0 = Vec::of(pair0 & upper), odd1 = Vec::of(pair1 & upper);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Vec x = splat(rows[i / 3][i % 3 * pitch + 2 * k + 1]);
      sums[i][0] = add_product(sums[i][0], x, odd0);
      sums[i][1] = add_product(sums[i][1], x, odd1);
    }
  }
};

#endif

// ---- i8 ------------------------------------------------------------------------------------------------------------

// The scale of a row as bytes (see linear in lib/graph/operators/matrix.ts): NaN if any element is NaN or infinite.
template <class In>
SANA_INLINE float byte_scale(const In* x, int64_t count) {
  Vec most = zero(), nothing = zero();
  for_each_vector(count, [&](int64_t i, auto some) {
    const Vec v = load(x + i, some);
    most = max(abs(v), most);
    nothing = fma(v, zero(), nothing);  // NaN once any element is NaN or infinite
  });
  float lanes[kLanes];
  store(lanes, most);
  float largest = 0;
  for (int i = 0; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  if (sum(nothing) != 0) return __builtin_nanf("");
  const float scale = largest / 127;
  return scale < 0x1p-126f ? 0 : scale;
}

// Calls put(i, lanes) with elements i .. i + 4 kLanes - 1 of a row as bytes at the given scale, with zeros after the
// last.
template <class In, class Put>
SANA_INLINE void for_each_bytes(const In* x, int64_t count, float scale, const Put& put) {
  const Vec inverse = splat(scale > 0 ? 1 / scale : 0);
  const auto group = [&](int64_t i, const auto& some) {
    Vec scaled[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) scaled[j] = load(x + i + j * kLanes, some(i + j * kLanes)) * inverse;
    put(i, nearest_bytes(scaled));
  };
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) group(i, [](int64_t) { return AllLanes{}; });
  if (i == count) return;
  group(i, [&](int64_t first) {
    const int64_t left = count - first;
    return FirstLanes{static_cast<int>(left < 0 ? 0 : left < kLanes ? left : kLanes)};
  });
}

#ifdef SANA_ISA_avx512bf16

// Four products per instruction (VNNI), of unsigned by signed bytes: a byte x of a row is staged as x + 128, and 128
// times the sum of the weights is subtracted at the end. An intermediate overflow cancels out, because i32 sums wrap
// around.
struct I8Product {
  static constexpr int kElements = 4, kStaged = 1, kStageCost = 8;
  static constexpr bool kScaled = true;

  template <class In>
  static SANA_INLINE void stage(float* lanes, const In* x, int64_t count, float scale) {
    for_each_bytes(x, count, scale, [&](int64_t i, Bits bytes) {
      store(lanes + i / 4, Vec::of(Bits{_mm512_xor_si512(bytes.v, _mm512_set1_epi8(-128))}));
    });
  }

  template <int kRows>
  static SANA_INLINE void step(const float* const* rows, int64_t pitch, int64_t k, const float* w,
                               Vec (&sums)[kRows][2]) {
    const Bits w0 = bits(load(w)), w1 = bits(load(w + kLanes));
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Bits x = bits(splat(rows[i / 3][i % 3 * pitch + k]));
      sums[i][0] = Vec::of(Bits{_mm512_dpbusd_epi32(bits(sums[i][0]).v, x.v, w0.v)});
      sums[i][1] = Vec::of(Bits{_mm512_dpbusd_epi32(bits(sums[i][1]).v, x.v, w1.v)});
    }
  }

  static SANA_INLINE Bits corrected(Bits sum, const float* weight_sums) { return sum + bits(load(weight_sums)); }
};

#else

// Bytes are widened to 16 bits, because an instruction multiplies pairs of these: those of a row when it is staged,
// bytes 0 and 2 of four, then 1 and 3; those of the weights here, in the same order.
struct I8Product {
  static constexpr int kElements = 4, kStaged = 2, kStageCost = 30;
  static constexpr bool kScaled = true;

  template <class In>
  static SANA_INLINE void stage(float* lanes, const In* x, int64_t count, float scale) {
    for_each_bytes(x, count, scale, [&](int64_t i, Bits bytes) {
      const Vec even = Vec::of(even_bytes(bytes)), odd = Vec::of(odd_bytes(bytes));
      store(lanes + i / 2, zip_low(even, odd));
      store(lanes + i / 2 + kLanes, zip_high(even, odd));
    });
  }

  template <int kRows>
  static SANA_INLINE void step(const float* const* rows, int64_t pitch, int64_t k, const float* w,
                               Vec (&sums)[kRows][2]) {
    const Bits bytes0 = bits(load(w)), bytes1 = bits(load(w + kLanes));
    const Bits even0 = even_bytes(bytes0), even1 = even_bytes(bytes1);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Bits x = bits(splat(rows[i / 3][i % 3 * pitch + 2 * k]));
      sums[i][0] = Vec::of(add_products(bits(sums[i][0]), x, even0));
      sums[i][1] = Vec::of(add_products(bits(sums[i][1]), x, even1));
    }
    const Bits odd0 = odd_bytes(bytes0), odd1 = odd_bytes(bytes1);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Bits x = bits(splat(rows[i / 3][i % 3 * pitch + 2 * k + 1]));
      sums[i][0] = Vec::of(add_products(bits(sums[i][0]), x, odd0));
      sums[i][1] = Vec::of(add_products(bits(sums[i][1]), x, odd1));
    }
  }

  static SANA_INLINE Bits corrected(Bits sum, const float*) { return sum; }
};

#endif

// Converts a row's integer sums of a panel, [32], to f32: multiplied by the row's scale and the columns' scales.
// `behind`: the lines after the panel's lanes.
SANA_INLINE void scale_sums(float* sums, const float* behind, float row_scale) {
#pragma GCC unroll 8
  for (int j = 0; j < kPanelColumns; j += kLanes) {
    const Bits sum = I8Product::corrected(bits(load(sums + j)), behind + kPanelColumns + j);
    store(sums + j, to_floats(sum) * (splat(row_scale) * load(behind + j)));
  }
}

}  // namespace sana::cpu::SANA_ISA
