// Convolutions over all channels, as an implicit matrix product, [B H' W', kh kw I] by [kh kw I, O]. The pixels of each
// tap are copied from the image when the tap is multiplied, from L2 for all taps but the first.
//
//   conv2d          out = activation(conv(x, weight) + bias) + residual     cross-correlation, zero padding kh / 2, kw
//   / 2
//                   x [B, H, W, I], weight [O, kh, kw, I], out [B, H', W', O]
//   upsampleConv2d  out = conv3x3(nearest2x(x), weight) + bias + residual
//                   x [B, H, W, I], weight [O, 3, 3, I], out [B, 2H, 2W, O]
//
// upsampleConv2d is computed on the small image: each of the four output pixels over a pixel of x depends on 2 x 2
// pixels of x, with weights that are sums of the 3x3 taps (cuda/pack.h). This takes 4/9 of the products, and the
// upsampled image is never stored. x and weight have the same dtype; out has that dtype or f32 (any dtype if x is f32).
// Copies are fast if I is a multiple of eight.

#include "cuda/kernels/kernels.h"
#include "cuda/kernels/matrix.h"

namespace sana::cuda {
namespace {

// The common part of both: everything but the kernel, the stride, the phases and the activation.
template <class Op>
Product convolution(const Call& call) {
  const View& x = call.operands[Op::kX];                // [B, H, W, I]
  const View& weight = call.operands[Op::kWeight];      // packed
  const View& bias = call.operands[Op::kBias];          // [O] f32 or absent
  const View& residual = call.operands[Op::kResidual];  // like out, or absent
  const View& out = call.operands[Op::kOut];            // [B, H', W', O]

  Product p = {};
  p.image = x.data;
  p.images = x.shape[0];
  p.height = static_cast<int>(x.shape[1]);
  p.width = static_cast<int>(x.shape[2]);
  p.channels = static_cast<int>(x.shape[3]);
  p.pitch = x.shape[3];
  p.weights = weight.data;
  p.sums = out.shape[3];
  p.epilogue.columns = p.epilogue.out_pitch = p.epilogue.residual_pitch = out.shape[3];
  p.epilogue.bias = bias.as<float>();
  p.epilogue.gate_rows = 1;
  p.epilogue.residual = residual.data;
  p.epilogue.out = out.data;
  p.epilogue.dtype = out.dtype;
  return p;
}

}  // namespace

void conv2d(const Call& call, const Stream& stream) {
  using op::Conv2d;
  const View& weight = call.operands[Conv2d::kWeight];  // [O, kh, kw, I]
  const View& out = call.operands[Conv2d::kOut];
  Product p = convolution<Conv2d>(call);
  p.out_height = static_cast<int>(out.shape[1]);
  p.out_width = static_cast<int>(out.shape[2]);
  p.kernel_height = static_cast<int>(weight.shape[1]);
  p.kernel_width = static_cast<int>(weight.shape[2]);
  p.stride = static_cast<int>(call.integer(Conv2d::kStride));
  p.phases = 1;
  p.epilogue.activation = call.choice<Activation>(Conv2d::kActivation);
  run_product(p, call.operands[Conv2d::kX].dtype, stream);
}

void upsample_conv2d(const Call& call, const Stream& stream) {
  using op::UpsampleConv2d;
  Product p = convolution<UpsampleConv2d>(call);
  p.out_height = p.height;
  p.out_width = p.width;
  p.kernel_height = p.kernel_width = 2;
  p.stride = 1;
  p.phases = 4;
  p.epilogue.activation = Activation::kNone;
  run_product(p, call.operands[UpsampleConv2d::kX].dtype, stream);
}

}  // namespace sana::cuda
