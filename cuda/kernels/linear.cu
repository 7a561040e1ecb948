// linear
//
//   out = clip(activation(x weight^T + bias)) * gate + residual
//   out = activation(x gate_weight^T) * (x other_weight^T)         gatedLinear weights
//
// The whole epilogue runs on sums that are still on the chip: no intermediate of shape [M, N] is ever written.
// x [..., K] and weight of one dtype, out and residual of it or f32 (any where x is f32); any M, N, K, any pitches.
// Copied fast where rows of x start at multiples of 16 bytes and K is a multiple of eight.

#include "cuda/kernels/kernels.h"
#include "cuda/kernels/matrix.h"

namespace sana::cuda {

void linear(const Call& call, const Stream& stream) {
  const View& x = call.operands[0];         // [M, K]
  const View& weight = call.operands[1];    // [N, K] packed
  const View& bias = call.operands[2];      // [N] f32 or absent
  const View& gate = call.operands[3];      // [B, N] f32 or absent
  const View& residual = call.operands[4];  // [M, N] or absent
  const View& out = call.operands[5];       // [M, N], or [M, N / 2] of a gatedLinear weight
  const bool gated = weight.layout == kSanaGatedLinear;

  Product p = {};
  p.image = x.data;
  p.images = x.rows();
  p.height = p.width = p.out_height = p.out_width = 1;
  p.channels = static_cast<int>(x.columns());
  p.pitch = x.pitch;
  p.kernel_height = p.kernel_width = p.stride = p.phases = 1;
  p.weights = weight.data;
  p.sums = gated ? divide_up(out.columns(), kGateColumns) * 2 * kGateColumns : out.columns();
  p.epilogue.columns = out.columns();
  p.epilogue.bias = bias.as<float>();
  p.epilogue.gate = gate.as<float>();
  p.epilogue.gate_rows = gate ? x.rows() / gate.rows() : 1;
  p.epilogue.residual = residual.data;
  p.epilogue.residual_pitch = residual.pitch;
  p.epilogue.out = out.data;
  p.epilogue.out_pitch = out.pitch;
  p.epilogue.dtype = out.dtype;
  p.epilogue.activation = static_cast<Activation>(static_cast<int>(call.attributes[0]));
  p.epilogue.clip = gated ? 0.0f : static_cast<float>(call.attributes[1]);
  p.epilogue.gated = gated;
  run_product(p, x.dtype, stream);
}

}  // namespace sana::cuda
