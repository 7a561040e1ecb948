// linear
//
//   out = clip(activation(x weight^T + bias)) * gate + residual
//   out = activation(x gate_weight^T) * (x other_weight^T)         gatedLinear weights
//
// The whole epilogue runs on a tile that is still in cache: no intermediate of shape [M, N] is ever written.
// x [..., K] is f32 or bf16, weight of the same dtype or i8, out and residual f32 or bf16; any M, N, K and pitches.

#include "core/backend.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/matrix.h"

namespace sana::cpu::SANA_ISA {

void linear(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::Linear::kX];                // [M, K]
  const View& weight = arguments.operands[op::Linear::kWeight];      // [N, K] packed
  const View& bias = arguments.operands[op::Linear::kBias];          // [N] f32 or absent
  const View& gate = arguments.operands[op::Linear::kGate];          // [B, N] f32 or absent
  const View& residual = arguments.operands[op::Linear::kResidual];  // [M, N] or absent
  const View& out = arguments.operands[op::Linear::kOut];            // [M, N], or [M, N / 2] of a gatedLinear weight
  const int64_t rows = x.rows();

  MatrixProduct p = {};
  p.image = x.data;
  p.batch = p.height = p.out_height = 1;
  p.width = p.out_width = rows;
  p.channels = x.columns();
  p.pitch = x.pitch;
  p.kernel_height = p.kernel_width = p.window_height = p.window_width = p.stride = p.phases = 1;
  p.weights = weight.as<float>();
  p.epilogue.columns = out.columns();
  p.epilogue.bias = bias.as<float>();
  p.epilogue.gate = gate.as<float>();
  p.epilogue.gate_rows = gate ? rows / gate.rows() : 1;
  p.epilogue.residual = residual.data;
  p.epilogue.residual_pitch = residual.pitch;
  p.epilogue.out = out.data;
  p.epilogue.out_pitch = out.pitch;
  p.epilogue.activation = arguments.choice<Activation>(op::Linear::kActivation);
  p.epilogue.clip = arguments.number(op::Linear::kClip);
  p.epilogue.gated = weight.layout == kSanaGatedLinear;
  run_product(p, x.dtype, weight.dtype, out.dtype, workers);
}

}  // namespace sana::cpu::SANA_ISA
