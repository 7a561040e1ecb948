// Convolutions over all channels, as an implicit matrix product: no [pixels, kh kw I] matrix is written, and an input
// pixel is copied once per task, not once per tap.
//
//   conv2d          out = activation(conv(x, weight) + bias) + residual     cross-correlation, zero padding kh / 2, kw
//   / 2
//                   x [B, H, W, I], weight [O, kh, kw, I], out [B, H', W', O]
//   upsampleConv2d  out = conv3x3(nearest2x(x), weight) + bias + residual
//                   x [B, H, W, I], weight [O, 3, 3, I], out [B, 2H, 2W, O]
//
// upsampleConv2d is computed on the small image: each of the four output pixels over a pixel of x depends on 2 x 2
// pixels of x, with weights that are sums of the 3x3 taps (cpu/pack.h). This takes 4/9 of the products, and the
// upsampled image is never stored. x and weight have the same dtype, f32 or bf16; so have out and residual.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/matrix.h"

namespace sana::cpu::SANA_ISA {
namespace {

// The common part of both: everything but the kernel, the stride, the phases and the activation.
template <class Op>
MatrixProduct convolution(const Arguments& arguments) {
  const View& x = arguments.operands[Op::kX];                // [B, H, W, I]
  const View& weight = arguments.operands[Op::kWeight];      // packed
  const View& bias = arguments.operands[Op::kBias];          // [O] f32 or absent
  const View& residual = arguments.operands[Op::kResidual];  // like out, or absent
  const View& out = arguments.operands[Op::kOut];            // [B, H', W', O]

  MatrixProduct p = {};
  p.image = x.data;
  p.batch = x.shape[0];
  p.height = x.shape[1];
  p.width = x.shape[2];
  p.channels = p.pitch = x.shape[3];
  p.weights = weight.as<float>();
  p.epilogue.columns = p.epilogue.out_pitch = p.epilogue.residual_pitch = out.shape[3];
  p.epilogue.bias = bias.as<float>();
  p.epilogue.residual = residual.data;
  p.epilogue.out = out.data;
  return p;
}

template <class Op>
void run(const MatrixProduct& p, const Arguments& arguments, Workers& workers) {
  run_product(p, arguments.operands[Op::kX].dtype, arguments.operands[Op::kWeight].dtype,
              arguments.operands[Op::kOut].dtype, workers);
}

}  // namespace

void conv2d(const Arguments& arguments, Workers& workers) {
  using op::Conv2d;
  const View& weight = arguments.operands[Conv2d::kWeight];  // [O, kh, kw, I]
  const View& out = arguments.operands[Conv2d::kOut];
  MatrixProduct p = convolution<Conv2d>(arguments);
  p.out_height = out.shape[1];
  p.out_width = out.shape[2];
  p.kernel_height = p.window_height = weight.shape[1];
  p.kernel_width = p.window_width = weight.shape[2];
  p.stride = arguments.integer(Conv2d::kStride);
  p.pad_y = p.kernel_height / 2;
  p.pad_x = p.kernel_width / 2;
  p.phases = 1;
  p.epilogue.activation = arguments.choice<Activation>(Conv2d::kActivation);
  run<Conv2d>(p, arguments, workers);
}

void upsample_conv2d(const Arguments& arguments, Workers& workers) {
  using op::UpsampleConv2d;
  MatrixProduct p = convolution<UpsampleConv2d>(arguments);
  p.out_height = p.height;
  p.out_width = p.width;
  p.kernel_height = p.kernel_width = 2;
  p.window_height = p.window_width = 3;
  p.stride = 1;
  p.pad_y = p.pad_x = 1;
  p.phases = 4;
  p.epilogue.activation = Activation::kNone;
  run<UpsampleConv2d>(p, arguments, workers);
}

}  // namespace sana::cpu::SANA_ISA
