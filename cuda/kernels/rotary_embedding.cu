// Rotates pairs (d, d + D/2) of the first `heads` heads by the token's angles and copies the other channels:
//   out[d] = x[d] cos[d] - x[d + D/2] sin[d],  out[d + D/2] = x[d + D/2] cos[d] + x[d] sin[d]
//
// x and out [T, C] (columns of wider tensors, out may be x), cos and sin [T, D/2] f32. A block takes a token; a thread
// takes eight pairs or eight copied channels at a time, or one if rows do not start at multiples of eight. In place,
// the other channels are not accessed. Bound by memory: x is read once, out is written once.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 128;

// ---- kernels -------------------------------------------------------------------------------------------------------

template <int N, class X, class Out>
__global__ void __launch_bounds__(kThreads)
    rotary_embedding_kernel(const X* x,        // [T, C], rows x_pitch apart
                            const float* cos,  // [T, half]
                            const float* sin,  // [T, half]
                            Out* out,          // [T, C], rows out_pitch apart
                            int64_t tokens, int half, int heads, int copied, int64_t x_pitch, int64_t out_pitch) {
  const int head_groups = half / N, rotated_groups = heads * head_groups, groups = rotated_groups + copied / N;
  for (int64_t token = blockIdx.x; token < tokens; token += gridDim.x) {
    const X* const from = x + token * x_pitch;
    Out* const to = out + token * out_pitch;
    for (int group = threadIdx.x; group < groups; group += kThreads) {
      if (group < rotated_groups) {
        const int d = group % head_groups * N, column = group / head_groups * 2 * half + d;
        float low[N], high[N], c[N], s[N];
        load<N>(from + column, low);
        load<N>(from + column + half, high);
        load<N>(cos + token * half + d, c);
        load<N>(sin + token * half + d, s);
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const float x_low = low[i], x_high = high[i];
          low[i] = x_low * c[i] - x_high * s[i];
          high[i] = x_high * c[i] + x_low * s[i];
        }
        store<N>(to + column, low);
        store<N>(to + column + half, high);
      } else {
        const int64_t column = int64_t(heads) * 2 * half + int64_t(group - rotated_groups) * N;
        float values[N];
        load<N>(from + column, values);
        store<N>(to + column, values);
      }
    }
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void rotary_embedding(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::RotaryEmbedding::kX];
  const View& cos = call.operands[op::RotaryEmbedding::kCos];
  const View& sin = call.operands[op::RotaryEmbedding::kSin];
  const View& out = call.operands[op::RotaryEmbedding::kOut];
  const int64_t tokens = x.rows(), half = cos.columns();
  const int64_t heads = call.integer(op::RotaryEmbedding::kHeads);
  const int64_t copied = x.data == out.data ? 0 : x.columns() - heads * 2 * half;
  const bool wide = vector_rows(8, {&x, &cos, &sin, &out});
  const unsigned blocks = static_cast<unsigned>(min(tokens, int64_t(stream.multiprocessors) * 64));
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    launch(stream.handle, wide ? rotary_embedding_kernel<8, X, Out> : rotary_embedding_kernel<1, X, Out>, blocks,
           kThreads, 0, x.as<X>(), cos.as<float>(), sin.as<float>(), out.as<Out>(), tokens, half, heads, copied,
           x.pitch, out.pitch);
  });
}

}  // namespace sana::cuda
