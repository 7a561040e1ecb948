// Rotates pairs (d, d + D/2) of the first `heads` heads by the token's angles and copies the other channels:
//   out[d] = x[d] cos[d] - x[d + D/2] sin[d],  out[d + D/2] = x[d + D/2] cos[d] + x[d] sin[d]
//
// x and out [T, C] (columns of wider tensors, out may be x), cos and sin [T, D/2] f32. Bound by memory.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void rotary_embedding(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::RotaryEmbedding::kX];
  const View& out = arguments.operands[op::RotaryEmbedding::kOut];
  const float* cosines = arguments.operands[op::RotaryEmbedding::kCos].as<float>();  // [T, D/2]
  const float* sines = arguments.operands[op::RotaryEmbedding::kSin].as<float>();    // [T, D/2]
  const int64_t half = arguments.operands[op::RotaryEmbedding::kCos].columns();
  const int64_t heads = arguments.integer(op::RotaryEmbedding::kHeads);
  const int64_t columns = x.columns(), rotated = heads * 2 * half;

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_rows(workers, x.rows(), columns, [&](int64_t row, int) {
      const auto* in = from + row * x.pitch;
      auto* result = to + row * out.pitch;
      for (int64_t channel = 0; channel < rotated; channel += 2 * half) {
        for_each_vector(half, [&](int64_t d, auto lanes) {
          const Vec c = load(cosines + row * half + d, lanes), s = load(sines + row * half + d, lanes);
          const Vec low = load(in + channel + d, lanes), high = load(in + channel + half + d, lanes);
          store(result + channel + d, low * c - high * s, lanes);
          store(result + channel + half + d, high * c + low * s, lanes);
        });
      }
      if (static_cast<const void*>(in) == result) return;
      for_each_vector(columns - rotated, [&](int64_t c, auto lanes) {
        store(result + rotated + c, load(in + rotated + c, lanes), lanes);
      });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
