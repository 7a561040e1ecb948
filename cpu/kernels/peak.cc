// The peak rate of multiply-adds of this instruction set: independent accumulators in registers, no memory. Kernels'
// times are compared with it.

#include "cpu/kernels/byte_lanes.h"
#include "cpu/kernels/kernels.h"
#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {
namespace {

// Enough independent chains to hide the latency of an fma on two pipes, and few enough to stay in registers.
#if defined(SANA_AVX512)
constexpr int kChains = 24;
#else
constexpr int kChains = 12;
#endif
constexpr int64_t kRounds = 1 << 20;

volatile float sink;

void f32_task(void*, int64_t, int) {
  Vec sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = Vec::splat(float(i));
  const Vec a = Vec::splat(0.999f), b = Vec::splat(1e-3f);
  for (int64_t round = 0; round < kRounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) sums[i] = fma(sums[i], a, b);
  }
  Vec total = sums[0];
  for (int i = 1; i < kChains; ++i) total = total + sums[i];
  sink = sum(total);
}

#if defined(SANA_ISA_avx512bf16)
void bf16_task(void*, int64_t, int) {
  __m512 sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(float(i));
  const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3a833a83), b = a;
  for (int64_t round = 0; round < kRounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  }
  __m512 total = sums[0];
  for (int i = 1; i < kChains; ++i) total = _mm512_add_ps(total, sums[i]);
  sink = _mm512_reduce_add_ps(total);
}
#endif

// The same operations as I8Product in products.h.
void i8_task(void*, int64_t, int) {
  Bits sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = Bits::splat(static_cast<uint32_t>(i));
  const Bits b = Bits::splat(0x01010101);
  Bits a = b;
  for (int64_t round = 0; round < kRounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) {
      a = in_order(a);  // otherwise the compiler would hoist the product out of the loop
#if defined(SANA_ISA_avx512bf16)
      sums[i].v = _mm512_dpbusd_epi32(sums[i].v, a.v, b.v);
#else
      sums[i] = add_products(sums[i], a, b);
#endif
    }
  }
  Bits total = sums[0];
  for (int i = 1; i < kChains; ++i) total = total + sums[i];
  sink = sum(to_floats(total));
}

}  // namespace

double run_peak_f32(Workers& workers) {
  workers.run(workers.count(), f32_task, nullptr);
  return 2.0 * kLanes * kChains * kRounds * workers.count();
}

double run_peak_bf16(Workers& workers) {
#if defined(SANA_ISA_avx512bf16)
  workers.run(workers.count(), bf16_task, nullptr);
  return 4.0 * kLanes * kChains * kRounds * workers.count();
#else
  return run_peak_f32(workers);  // bf16 is widened and multiplied in f32
#endif
}

double run_peak_i8(Workers& workers) {
#if defined(SANA_ISA_avx512bf16)
  constexpr int kProducts = 4;  // per lane
#else
  constexpr int kProducts = 2;
#endif
  workers.run(workers.count(), i8_task, nullptr);
  return 2.0 * kProducts * kLanes * kChains * kRounds * workers.count();
}

}  // namespace sana::cpu::SANA_ISA
