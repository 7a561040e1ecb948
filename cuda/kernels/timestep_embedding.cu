// out = [cos(t f) | sin(t f)], f_i = exp(-ln(10000) i / (C/2))
//
// timestep [B] f32, out [B, C], C even. Every step is in f32 and in this order: at t = 1000 the angle has an error of
// 1e-4 that the model was trained with, so a more accurate frequency would give a worse result. One thread per pair;
// there are a few hundred, so it is bound by the launch.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 128;

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class Out>
__global__ void __launch_bounds__(kThreads) timestep_embedding_kernel(const float* __restrict__ timestep,  // [B]
                                                                      Out* __restrict__ out,  // [B, 2 half]
                                                                      int64_t pairs, int half) {
  const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= pairs) return;
  const int64_t row = index / half;
  const int i = static_cast<int>(index % half);
  const float frequency = expf(-9.2103403719761836f * static_cast<float>(i) / static_cast<float>(half));
  const float angle = timestep[row] * frequency;
  out[row * 2 * half + i] = from_float<Out>(cosf(angle));
  out[row * 2 * half + half + i] = from_float<Out>(sinf(angle));
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void timestep_embedding(const Call& call, const Stream& stream) {
  const View& timestep = call.operands[op::TimestepEmbedding::kTimestep];  // [B]
  const View& out = call.operands[op::TimestepEmbedding::kOut];            // [B, C]
  const int64_t half = out.columns() / 2, pairs = out.rows() * half;
  with_type(out.dtype, [&](auto tag) {
    using Out = typename decltype(tag)::Type;
    launch(stream.handle, timestep_embedding_kernel<Out>, grid_size(divide_up(pairs, kThreads)), kThreads, 0,
           timestep.as<float>(), out.as<Out>(), pairs, half);
  });
}

}  // namespace sana::cuda
