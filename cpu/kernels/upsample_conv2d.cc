// upsampleConv2d
//
//   out = conv3x3(nearest2x(x), weight) + bias + residual
//
// Computed on the small image: each of the four output pixels over a pixel of x sees 2 x 2 pixels of x through weights
// that are sums of the 3x3 taps (cpu/pack.h). 4/9 of the products, and the upsampled image never exists.
// x [B, H, W, I], weight [O, 3, 3, I] of the same dtype, out [B, 2H, 2W, O], f32 or bf16.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/matrix.h"

namespace sana::cpu::SANA_ISA {

void upsample_conv2d(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[0];         // [B, H, W, I]
  const View& weight = arguments.operands[1];    // [O, 3, 3, I] packed
  const View& bias = arguments.operands[2];      // [O] f32 or absent
  const View& residual = arguments.operands[3];  // [B, 2H, 2W, O] or absent
  const View& out = arguments.operands[4];       // [B, 2H, 2W, O]

  MatrixProduct p = {};
  p.image = x.data;
  p.batch = x.shape[0];
  p.height = p.out_height = x.shape[1];
  p.width = p.out_width = x.shape[2];
  p.channels = p.pitch = x.shape[3];
  p.kernel_height = p.kernel_width = 2;
  p.window_height = p.window_width = 3;
  p.stride = 1;
  p.pad_y = p.pad_x = 1;
  p.phases = 4;
  p.weights = weight.as<float>();
  p.epilogue.columns = p.epilogue.out_pitch = p.epilogue.residual_pitch = out.shape[3];
  p.epilogue.bias = bias.as<float>();
  p.epilogue.residual = residual.data;
  p.epilogue.out = out.data;
  p.epilogue.activation = Activation::kNone;
  run_product(p, x.dtype, weight.dtype, out.dtype, workers);
}

}  // namespace sana::cpu::SANA_ISA
