// upsampleConv2d
//
//   out = conv3x3(nearest2x(x), weight) + bias + residual
//
// Computed on the small image: each of the four output pixels over a pixel of x sees 2 x 2 pixels of x through weights
// that are sums of the 3x3 taps (cuda/pack.h). 4/9 of the products, and the upsampled image never exists.
// x [B, H, W, I] and weight [O, 3, 3, I] of one dtype, out [B, 2H, 2W, O] of it or f32 (any where x is f32).
// Copied fast where I is a multiple of eight.

#include "cuda/kernels/kernels.h"
#include "cuda/kernels/matrix.h"

namespace sana::cuda {

void upsample_conv2d(const Call& call, const Stream& stream) {
  const View& x = call.operands[0];         // [B, H, W, I]
  const View& weight = call.operands[1];    // [O, 3, 3, I] packed
  const View& bias = call.operands[2];      // [O] f32 or absent
  const View& residual = call.operands[3];  // [B, 2H, 2W, O] or absent
  const View& out = call.operands[4];       // [B, 2H, 2W, O]

  Product p = {};
  p.image = x.data;
  p.images = x.shape[0];
  p.height = p.out_height = static_cast<int>(x.shape[1]);
  p.width = p.out_width = static_cast<int>(x.shape[2]);
  p.channels = static_cast<int>(x.shape[3]);
  p.pitch = x.shape[3];
  p.kernel_height = p.kernel_width = 2;
  p.stride = 1;
  p.phases = 4;
  p.weights = weight.data;
  p.sums = out.shape[3];
  p.epilogue.columns = p.epilogue.out_pitch = p.epilogue.residual_pitch = out.shape[3];
  p.epilogue.bias = bias.as<float>();
  p.epilogue.gate_rows = 1;
  p.epilogue.residual = residual.data;
  p.epilogue.out = out.data;
  p.epilogue.dtype = out.dtype;
  p.epilogue.activation = Activation::kNone;
  run_product(p, x.dtype, stream);
}

}  // namespace sana::cuda
