// DC-AE's shortcuts: pixel shuffle (upsampling) and unshuffle (downsampling) with repeated or averaged channels, and
// the residual added.
//
//   pixelShuffle    out[f i + a, f j + b, o] = x[i, j, (f f o + f a + b) / R] + residual, R = f f O / I
//                   x [B, H, W, I], residual and out [B, f H, f W, O]
//   pixelUnshuffle  out[i, j, o] = mean of u[G o .. G o + G - 1] + residual, G = f f I / O,
//                   u[f f c + f a + b] = x[f i + a, f j + b, c]
//                   x [B, f H, f W, I], residual and out [B, H, W, O]
//
// f is 1 or 2; out may be residual. For R and G of 1, 2 and 4 and channels in multiples of eight, a thread takes eight
// channels of all f f large pixels of one small pixel. Each side is runs of channels, so that both sides move vectors,
// and the permutation is known at compile time. In other cases, a thread takes one element (the general path). Bound by
// memory: x and residual are read once, out is written once.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 8;  // output channels per thread

// A pixel of the small image and a thread's run of channels there.
struct Place {
  int64_t pixel, row, column;  // row: item * H + i
  int64_t run;

  __device__ Place(int64_t index, int64_t runs, int64_t width)
      : pixel(index / runs), row(pixel / width), column(pixel % width), run(index % runs) {}

  // The index of the large image's pixel for part f a + b.
  template <int factor>
  __device__ int64_t large(int part, int64_t width) const {
    return (row * factor + part / factor) * width * factor + column * factor + part % factor;
  }
};

template <class T>
__device__ __forceinline__ void add(const T* residual, float (&values)[kChannels]) {
  float extra[kChannels];
  load<kChannels>(residual, extra);
#pragma unroll
  for (int k = 0; k < kChannels; ++k) values[k] += extra[k];
}

// ---- kernels -------------------------------------------------------------------------------------------------------

template <int factor, int repeat, class X, class Out>
__global__ void __launch_bounds__(kThreads) shuffle_kernel(const X* x,           // [B, H, width, I]
                                                           const Out* residual,  // [B, f H, f width, O] or null
                                                           Out* out,             // [B, f H, f width, O]
                                                           int64_t work, int64_t width, int64_t channels) {
  constexpr int kParts = factor * factor, kSource = kParts * kChannels / repeat;
  const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= work) return;
  const Place place(index, channels / kChannels, width);
  float source[kSource];
  load<kSource>(x + index * kSource, source);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int64_t at = place.large<factor>(part, width) * channels + place.run * kChannels;
    float values[kChannels];
#pragma unroll
    for (int k = 0; k < kChannels; ++k) values[k] = source[(kParts * k + part) / repeat];
    if (residual) add(residual + at, values);
    store<kChannels>(out + at, values);
  }
}

template <int factor, int group, class X, class Out>
__global__ void __launch_bounds__(kThreads)
    unshuffle_kernel(const X* x,           // [B, f H, f width, I]
                     const Out* residual,  // [B, H, width, O] or null
                     Out* out,             // [B, H, width, O]
                     int64_t work, int64_t width, int64_t in_channels, int64_t channels) {
  constexpr int kParts = factor * factor, kSource = group * kChannels / kParts;
  const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= work) return;
  const Place place(index, channels / kChannels, width);
  float source[kParts][kSource];
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    load<kSource>(x + place.large<factor>(part, width) * in_channels + place.run * kSource, source[part]);
  }
  float values[kChannels] = {};
#pragma unroll
  for (int u = 0; u < group * kChannels; ++u) values[u / group] += source[u % kParts][u / kParts];
#pragma unroll
  for (int k = 0; k < kChannels; ++k) values[k] *= 1.0f / group;
  if (residual) add(residual + index * kChannels, values);
  store<kChannels>(out + index * kChannels, values);
}

template <class X, class Out>
__global__ void __launch_bounds__(kThreads)
    general_shuffle_kernel(const X* x,           // [B, H, width, I]
                           const Out* residual,  // [B, f H, f width, O] or null
                           Out* out,             // [B, f H, f width, O]
                           int64_t elements, int64_t width, int64_t in_channels, int64_t channels, int factor) {
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= elements) return;
  const int64_t o = at % channels, column = at / channels % (factor * width), row = at / channels / (factor * width);
  const int64_t part = row % factor * factor + column % factor;
  const int64_t pixel = row / factor * width + column / factor;  // the items' rows are consecutive on both sides
  const int64_t parts = factor * factor, repeat = parts * channels / in_channels;
  const float value = to_float(x[pixel * in_channels + (parts * o + part) / repeat]);
  out[at] = from_float<Out>(residual ? value + to_float(residual[at]) : value);
}

template <class X, class Out>
__global__ void __launch_bounds__(kThreads)
    general_unshuffle_kernel(const X* x,           // [B, f H, f width, I]
                             const Out* residual,  // [B, H, width, O] or null
                             Out* out,             // [B, H, width, O]
                             int64_t elements, int64_t width, int64_t in_channels, int64_t channels, int factor) {
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= elements) return;
  const int64_t o = at % channels, column = at / channels % width, row = at / channels / width;
  const int64_t parts = factor * factor, group = parts * in_channels / channels;
  float sum = 0.0f;
  for (int64_t u = group * o; u < group * (o + 1); ++u) {
    const int64_t part = u % parts, y = row * factor + part / factor, z = column * factor + part % factor;
    sum += to_float(x[(y * factor * width + z) * in_channels + u / parts]);
  }
  const float mean = sum / static_cast<float>(group);
  out[at] = from_float<Out>(residual ? mean + to_float(residual[at]) : mean);
}

// ---- launchers -----------------------------------------------------------------------------------------------------

// Calls body(factor, share) with constants for the vector paths; returns false if there is none for these values.
template <class Body>
bool with_constants(int64_t factor, int64_t share, Body&& body) {
  const auto with_share = [&](auto constant_factor) {
    if (share == 1) return body(constant_factor, std::integral_constant<int, 1>()), true;
    if (share == 2) return body(constant_factor, std::integral_constant<int, 2>()), true;
    if (share == 4) return body(constant_factor, std::integral_constant<int, 4>()), true;
    return false;
  };
  return factor == 1 ? with_share(std::integral_constant<int, 1>()) : with_share(std::integral_constant<int, 2>());
}

}  // namespace

void pixel_shuffle(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::PixelShuffle::kX];                // [B, H, W, I]
  const View& residual = call.operands[op::PixelShuffle::kResidual];  // [B, f H, f W, O]
  const View& out = call.operands[op::PixelShuffle::kOut];            // [B, f H, f W, O]
  const int64_t factor = call.integer(op::PixelShuffle::kFactor), width = x.shape[2], channels = out.columns();
  const int64_t repeat = factor * factor * channels / x.columns();
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    const auto fast = [&](auto f, auto r) {
      const int64_t work = x.rows() * (channels / kChannels);
      launch(stream.handle, shuffle_kernel<f.value, r.value, X, Out>, grid_size(divide_up(work, kThreads)), kThreads, 0,
             x.as<X>(), residual.as<Out>(), out.as<Out>(), work, width, channels);
    };
    if (vector_rows(kChannels, {&x, &residual, &out}) && with_constants(factor, repeat, fast)) return;
    const int64_t elements = out.rows() * channels;
    launch(stream.handle, general_shuffle_kernel<X, Out>, grid_size(divide_up(elements, kThreads)), kThreads, 0,
           x.as<X>(), residual.as<Out>(), out.as<Out>(), elements, width, x.columns(), channels, factor);
  });
}

void pixel_unshuffle(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::PixelUnshuffle::kX];                // [B, f H, f W, I]
  const View& residual = call.operands[op::PixelUnshuffle::kResidual];  // [B, H, W, O]
  const View& out = call.operands[op::PixelUnshuffle::kOut];            // [B, H, W, O]
  const int64_t factor = call.integer(op::PixelUnshuffle::kFactor), width = out.shape[2], channels = out.columns();
  const int64_t group = factor * factor * x.columns() / channels;
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    const auto fast = [&](auto f, auto g) {
      const int64_t work = out.rows() * (channels / kChannels);
      launch(stream.handle, unshuffle_kernel<f.value, g.value, X, Out>, grid_size(divide_up(work, kThreads)), kThreads,
             0, x.as<X>(), residual.as<Out>(), out.as<Out>(), work, width, x.columns(), channels);
    };
    if (vector_rows(kChannels, {&x, &residual, &out}) && with_constants(factor, group, fast)) return;
    const int64_t elements = out.rows() * channels;
    launch(stream.handle, general_unshuffle_kernel<X, Out>, grid_size(divide_up(elements, kThreads)), kThreads, 0,
           x.as<X>(), residual.as<Out>(), out.as<Out>(), elements, width, x.columns(), channels, factor);
  });
}

}  // namespace sana::cuda
