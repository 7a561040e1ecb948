// out[r, b] = table[r] + embedding[b, r mod rows]
//
// table [R, C] f32, embedding [B, rows C], out [R, B, C] f32. One block per row of out. Bound by memory; a transformer
// of 28 blocks needs less than two megabytes in all.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X>
__global__ void __launch_bounds__(kThreads) modulation_kernel(const float* __restrict__ table,  // [R, C]
                                                              const X* __restrict__ embedding,  // [batch, rows C]
                                                              float* __restrict__ out,          // [R, batch, C]
                                                              int64_t batch, int64_t rows, int64_t columns) {
  const int64_t r = blockIdx.x / batch, item = blockIdx.x % batch;
  const X* extra = embedding + (item * rows + r % rows) * columns;
  for (int64_t c = threadIdx.x; c < columns; c += kThreads) {
    out[blockIdx.x * columns + c] = table[r * columns + c] + to_float(extra[c]);
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void modulation(const Call& call, const Stream& stream) {
  const View& table = call.operands[op::Modulation::kTable];          // [R, C]
  const View& embedding = call.operands[op::Modulation::kEmbedding];  // [B, rows C]
  const View& out = call.operands[op::Modulation::kOut];              // [R, B, C]
  with_type(embedding.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    launch(stream.handle, modulation_kernel<X>, grid_size(out.rows()), kThreads, 0, table.as<float>(),
           embedding.as<X>(), out.as<float>(), embedding.shape[0], embedding.columns() / table.columns(),
           table.columns());
  });
}

}  // namespace sana::cuda
