// out = [cos(t f) | sin(t f)], f_i = exp(-ln(10000) i / (C/2))
//
// timestep [B] f32, out [B, C], C even. Every step is in f32 and in this order: at t = 1000 the angle has an error of
// 1e-4 that the model was trained with, so a more accurate frequency would give a worse result.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void timestep_embedding(const Arguments& arguments, Workers& workers) {
  const float* timestep = arguments.operands[op::TimestepEmbedding::kTimestep].as<float>();  // [B]
  const View& out = arguments.operands[op::TimestepEmbedding::kOut];
  const int64_t half = out.columns() / 2;

  with_types(out, [&](auto* to) {
    parallel(workers, out.rows(), [&](int64_t row, int) {
      auto* result = to + row * 2 * half;
      for (int64_t i = 0; i < half; ++i) {
        const float frequency = expf(-9.2103403719761836f * static_cast<float>(i) / static_cast<float>(half));
        const float angle = timestep[row] * frequency;
        set(result + i, cosf(angle));
        set(result + half + i, sinf(angle));
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
