// Bilinear resize (half-pixel centres, edges repeated, no antialiasing), then a centre crop. Only pixels inside the
// crop are computed.
//
// x [B, h, w, C], out [B, H, W, C]. Weights in f32. One thread per element, because it runs only once per picture.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;

// The position of an output coordinate between two input coordinates: low + fraction; `high` is the next one, clamped
// to the image.
struct Between {
  int64_t low, high;
  float fraction;

  // scale: the input's size divided by the resized size
  __device__ Between(int64_t at, int64_t size, float scale) {
    const float source = fmaxf(scale * (static_cast<float>(at) + 0.5f) - 0.5f, 0.0f);
    low = min(static_cast<int64_t>(source), size - 1);
    high = min(low + 1, size - 1);
    fraction = source - static_cast<float>(low);
  }
};

struct Sizes {
  int64_t in_height, in_width, height, width, channels;
  int64_t top, left;  // the crop's corner
  float scale_y, scale_x;
};

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X, class Out>
__global__ void __launch_bounds__(kThreads) resize_crop_kernel(const X* __restrict__ x,  // [B, in_height, in_width, C]
                                                               Out* __restrict__ out,    // [B, height, width, C]
                                                               int64_t elements, Sizes sizes) {
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= elements) return;
  const int64_t c = at % sizes.channels, pixel = at / sizes.channels;
  const int64_t column = pixel % sizes.width, row = pixel / sizes.width % sizes.height;
  const int64_t item = pixel / sizes.width / sizes.height;
  const Between y(sizes.top + row, sizes.in_height, sizes.scale_y);
  const Between z(sizes.left + column, sizes.in_width, sizes.scale_x);
  const auto input = [&](int64_t in_row, int64_t in_column) {
    return to_float(x[((item * sizes.in_height + in_row) * sizes.in_width + in_column) * sizes.channels + c]);
  };
  const float above = (1.0f - z.fraction) * input(y.low, z.low) + z.fraction * input(y.low, z.high);
  const float below = (1.0f - z.fraction) * input(y.high, z.low) + z.fraction * input(y.high, z.high);
  out[at] = from_float<Out>((1.0f - y.fraction) * above + y.fraction * below);
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void resize_crop(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::ResizeCrop::kX];      // [B, h, w, C]
  const View& out = call.operands[op::ResizeCrop::kOut];  // [B, H, W, C]
  const int64_t resized_height = call.integer(op::ResizeCrop::kResizedHeight);
  const int64_t resized_width = call.integer(op::ResizeCrop::kResizedWidth);
  const Sizes sizes = {
      .in_height = x.shape[1],
      .in_width = x.shape[2],
      .height = out.shape[1],
      .width = out.shape[2],
      .channels = x.columns(),
      .top = (resized_height - out.shape[1]) / 2,
      .left = (resized_width - out.shape[2]) / 2,
      .scale_y = static_cast<float>(x.shape[1]) / static_cast<float>(resized_height),
      .scale_x = static_cast<float>(x.shape[2]) / static_cast<float>(resized_width),
  };
  const int64_t elements = out.rows() * out.columns();
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    launch(stream.handle, resize_crop_kernel<X, Out>, grid_size(divide_up(elements, kThreads)), kThreads, 0, x.as<X>(),
           out.as<Out>(), elements, sizes);
  });
}

}  // namespace sana::cuda
