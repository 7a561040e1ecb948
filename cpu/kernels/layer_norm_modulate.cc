// out = (x - mean) / sqrt(variance + epsilon) * (1 + scale) + shift, mean and variance over C
//
// x [B, N, C], shift and scale [B, C] f32, out [B, N, C]. A row is read from memory once: the later passes find it in
// the first-level cache. The variance is the mean of squared differences, which has no cancellation.
// Bound by memory: one read and one write of x.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/sum_over_row.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void layer_norm_modulate(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::LayerNormModulate::kX];
  const View& out = arguments.operands[op::LayerNormModulate::kOut];
  const float* shift = arguments.operands[op::LayerNormModulate::kShift].as<float>();  // [B, C]
  const float* scale = arguments.operands[op::LayerNormModulate::kScale].as<float>();  // [B, C]
  const float epsilon = arguments.number(op::LayerNormModulate::kEpsilon);
  const int64_t columns = x.columns();
  const int64_t rows_per_item = x.rows() / x.shape[0];

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_rows(workers, x.rows(), columns, [&](int64_t row, int) {
      const auto* in = from + row * columns;
      auto* result = to + row * columns;
      const float* item_shift = shift + row / rows_per_item * columns;
      const float* item_scale = scale + row / rows_per_item * columns;

      const float mean = sum_over_row(in, columns, [](Vec v) { return v; }) / static_cast<float>(columns);
      const Vec centre = splat(mean);
      const float squares = sum_over_row(in, columns, [&](Vec v) { return (v - centre) * (v - centre); });
      const Vec factor = splat(1.0f / sqrtf(squares / static_cast<float>(columns) + epsilon));
      for_each_vector(columns, [&](int64_t c, auto lanes) {
        const Vec gain = splat(1.0f) + load(item_scale + c, lanes);
        store(result + c, fma((load(in + c, lanes) - centre) * factor, gain, load(item_shift + c, lanes)), lanes);
      });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
