// out[b, c, r] = x[b, r, c]
//
// x [B, R, C], out [B, C, R]. Tiles of 32 by 32 go through shared memory, so that a warp reads and writes runs of 32
// elements. Bound by memory.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kTile = 32;
constexpr int kTileRows = 8;  // rows of threads: each takes four elements

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X, class Out>
__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(const X* __restrict__ x,  // [B, rows, columns]
                                                                     Out* __restrict__ out,    // [B, columns, rows]
                                                                     int64_t rows, int64_t columns) {
  __shared__ float tile[kTile][kTile + 1];  // a column is in different banks
  const int64_t column_tiles = (columns + kTile - 1) / kTile, row_tiles = (rows + kTile - 1) / kTile;
  const int64_t column = blockIdx.x % column_tiles * kTile, row = blockIdx.x / column_tiles % row_tiles * kTile;
  const int64_t item = blockIdx.x / column_tiles / row_tiles;
  const int lane = static_cast<int>(threadIdx.x), first = static_cast<int>(threadIdx.y);
#pragma unroll
  for (int i = first; i < kTile; i += kTileRows) {
    if (row + i < rows && column + lane < columns) {
      tile[i][lane] = to_float(x[(item * rows + row + i) * columns + column + lane]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = first; i < kTile; i += kTileRows) {
    if (column + i < columns && row + lane < rows) {
      out[(item * columns + column + i) * rows + row + lane] = from_float<Out>(tile[lane][i]);
    }
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void transpose(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::Transpose::kX];      // [B, R, C]
  const View& out = call.operands[op::Transpose::kOut];  // [B, C, R]
  const int64_t rows = x.shape[1], columns = x.shape[2];
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    launch(stream.handle, transpose_kernel<X, Out>,
           grid_size(x.shape[0] * divide_up(rows, kTile) * divide_up(columns, kTile)), dim3(kTile, kTileRows), 0,
           x.as<X>(), out.as<Out>(), rows, columns);
  });
}

}  // namespace sana::cuda
