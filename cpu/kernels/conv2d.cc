// conv2d
//
//   out = activation(conv(x, weight) + bias) + residual     cross-correlation, zero padding kh / 2 and kw / 2
//
// An implicit matrix product: no [pixels, kh kw I] matrix is written, an input pixel is copied once per task, not once
// per tap. x [B, H, W, I], weight [O, kh, kw, I] of the same dtype, out [B, H', W', O], f32 or bf16.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/matrix.h"

namespace sana::cpu::SANA_ISA {

void conv2d(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[0];         // [B, H, W, I]
  const View& weight = arguments.operands[1];    // [O, kh, kw, I] packed
  const View& bias = arguments.operands[2];      // [O] f32 or absent
  const View& residual = arguments.operands[3];  // [B, H', W', O] or absent
  const View& out = arguments.operands[4];       // [B, H', W', O]

  MatrixProduct p = {};
  p.image = x.data;
  p.batch = x.shape[0];
  p.height = x.shape[1];
  p.width = x.shape[2];
  p.channels = p.pitch = x.shape[3];
  p.out_height = out.shape[1];
  p.out_width = out.shape[2];
  p.kernel_height = p.window_height = weight.shape[1];
  p.kernel_width = p.window_width = weight.shape[2];
  p.stride = static_cast<int64_t>(arguments.attributes[0]);
  p.pad_y = p.kernel_height / 2;
  p.pad_x = p.kernel_width / 2;
  p.phases = 1;
  p.weights = weight.as<float>();
  p.epilogue.columns = p.epilogue.out_pitch = p.epilogue.residual_pitch = out.shape[3];
  p.epilogue.bias = bias.as<float>();
  p.epilogue.residual = residual.data;
  p.epilogue.out = out.data;
  p.epilogue.activation = static_cast<Activation>(arguments.attributes[1]);
  run_product(p, x.dtype, weight.dtype, out.dtype, workers);
}

}  // namespace sana::cpu::SANA_ISA
