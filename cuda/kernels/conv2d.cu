// conv2d
//
//   out = activation(conv(x, weight) + bias) + residual     cross-correlation, zero padding kh / 2 and kw / 2
//
// An implicit matrix product, [B H' W', kh kw I] by [kh kw I, O]: the pixels that a tap sees are copied from the image
// as that tap's turn comes, from L2 for all taps but the first.
// x [B, H, W, I] and weight [O, kh, kw, I] of one dtype, out [B, H', W', O] of it or f32 (any where x is f32).
// Copied fast where I is a multiple of eight.

#include "cuda/kernels/kernels.h"
#include "cuda/kernels/matrix.h"

namespace sana::cuda {

void conv2d(const Call& call, const Stream& stream) {
  const View& x = call.operands[0];         // [B, H, W, I]
  const View& weight = call.operands[1];    // [O, kh, kw, I] packed
  const View& bias = call.operands[2];      // [O] f32 or absent
  const View& residual = call.operands[3];  // [B, H', W', O] or absent
  const View& out = call.operands[4];       // [B, H', W', O]

  Product p = {};
  p.image = x.data;
  p.images = x.shape[0];
  p.height = static_cast<int>(x.shape[1]);
  p.width = static_cast<int>(x.shape[2]);
  p.channels = static_cast<int>(x.shape[3]);
  p.pitch = x.shape[3];
  p.out_height = static_cast<int>(out.shape[1]);
  p.out_width = static_cast<int>(out.shape[2]);
  p.kernel_height = static_cast<int>(weight.shape[1]);
  p.kernel_width = static_cast<int>(weight.shape[2]);
  p.stride = static_cast<int>(call.attributes[0]);
  p.phases = 1;
  p.weights = weight.data;
  p.sums = out.shape[3];
  p.epilogue.columns = p.epilogue.out_pitch = p.epilogue.residual_pitch = out.shape[3];
  p.epilogue.bias = bias.as<float>();
  p.epilogue.gate_rows = 1;
  p.epilogue.residual = residual.data;
  p.epilogue.out = out.data;
  p.epilogue.dtype = out.dtype;
  p.epilogue.activation = static_cast<Activation>(static_cast<int>(call.attributes[1]));
  run_product(p, x.dtype, stream);
}

}  // namespace sana::cuda
