// out = activation(x / sqrt(mean(x^2) + epsilon) * (weight + offset) + bias) + residual, the mean over C
//
// x [..., C], weight and bias [C] f32, residual and out [..., C]; x, residual and out may be columns of wider tensors
// and of different types. A row is read from memory once; the second pass finds it in the first-level cache.
// Bound by memory: one read of x and of residual, one write.

#include "cpu/kernels/activate.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/sum_over_row.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void rms_norm(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::RmsNorm::kX];
  const View& residual = arguments.operands[op::RmsNorm::kResidual];
  const View& out = arguments.operands[op::RmsNorm::kOut];
  const float* weight = arguments.operands[op::RmsNorm::kWeight].as<float>();  // [C]
  const float* bias = arguments.operands[op::RmsNorm::kBias].as<float>();      // [C] or null
  const float epsilon = arguments.number(op::RmsNorm::kEpsilon);
  const Vec offset = splat(arguments.number(op::RmsNorm::kOffset));
  const Activation activation = arguments.choice<Activation>(op::RmsNorm::kActivation);
  const int64_t columns = x.columns();

  with_types(x, residual, out, [&](const auto* from, const auto* add, auto* to) {
    parallel_rows(workers, x.rows(), columns, [&](int64_t row, int) {
      const auto* in = from + row * x.pitch;
      const auto* extra = add ? add + row * residual.pitch : nullptr;
      auto* result = to + row * out.pitch;

      const float squares = sum_over_row(in, columns, [](Vec v) { return v * v; });
      const Vec factor = splat(1.0f / sqrtf(squares / static_cast<float>(columns) + epsilon));
      for_each_vector(columns, [&](int64_t c, auto lanes) {
        Vec y = load(in + c, lanes) * factor * (load(weight + c, lanes) + offset);
        if (bias) y = y + load(bias + c, lanes);
        y = activate(activation, y);
        if (extra) y = y + load(extra + c, lanes);
        store(result + c, y, lanes);
      });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
