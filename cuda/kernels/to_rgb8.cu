// out = round_half_even(clamp(x / 2 + 1/2, 0, 1) * 255), NaN gives 0
//
// x [B, H, W, 3], out the same, u8. A thread takes eight elements, whatever pixels they belong to. They are converted
// one by one in the last thread, and in all threads if x or out does not start at a multiple of eight. Bound by memory.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kElements = 8;  // per thread

__device__ __forceinline__ uint8_t to_level(float x) {
  const float unit = fminf(fmaxf(x * 0.5f + 0.5f, 0.0f), 1.0f);  // fmaxf drops a NaN; x / 2 is exact, fused or not
  return static_cast<uint8_t>(rintf(unit * 255.0f));
}

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X>
__global__ void __launch_bounds__(kThreads) to_rgb8_kernel(const X* __restrict__ x,    // [elements]
                                                           uint8_t* __restrict__ out,  // [elements]
                                                           int64_t elements, bool aligned) {
  const int64_t first = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kElements;
  if (aligned && first + kElements <= elements) {
    float values[kElements];
    load<kElements>(x + first, values);
    Vector<uint8_t, kElements> levels;
#pragma unroll
    for (int i = 0; i < kElements; ++i) levels.elements[i] = to_level(values[i]);
    *reinterpret_cast<Vector<uint8_t, kElements>*>(out + first) = levels;
  } else {
    for (int64_t i = first; i < min(first + kElements, elements); ++i) out[i] = to_level(to_float(x[i]));
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void to_rgb8(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::ToRgb8::kX];      // [B, H, W, 3]
  const View& out = call.operands[op::ToRgb8::kOut];  // [B, H, W, 3]
  const int64_t elements = x.rows() * x.columns();
  const bool aligned =
      reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && reinterpret_cast<uintptr_t>(out.data) % kElements == 0;
  with_type(x.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    launch(stream.handle, to_rgb8_kernel<X>, grid_size(divide_up(elements, kThreads * kElements)), kThreads, 0,
           x.as<X>(), out.as<uint8_t>(), elements, aligned);
  });
}

}  // namespace sana::cuda
