// out[b, c, r] = x[b, r, c]
//
// x [B, R, C], out [B, C, R]. Tiles of 32 by 32 go through the first-level cache, so that whole cache lines are read
// and written. Bound by memory for wide tensors.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

namespace {

constexpr int64_t kTile = 32;

}  // namespace

void transpose(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::Transpose::kX];
  const View& out = arguments.operands[op::Transpose::kOut];
  const int64_t batch = x.shape[0], rows = x.rows() / x.shape[0], columns = x.columns();
  const int64_t row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_rows(workers, batch * row_tiles * column_tiles, kTile * kTile, [&](int64_t task, int) {
      const int64_t column = task % column_tiles * kTile;
      const int64_t row = task / column_tiles % row_tiles * kTile;
      const int64_t item = task / column_tiles / row_tiles;
      const int64_t tile_rows = smaller(kTile, rows - row), tile_columns = smaller(kTile, columns - column);
      float tile[kTile * kTile];     // [rows, columns]
      float flipped[kTile * kTile];  // [columns, rows]
      load_rows(from + (item * rows + row) * columns + column, columns, tile_rows, tile_columns, tile, kTile);
      transpose_tile(tile, kTile, round_up(tile_rows, kLanes), round_up(tile_columns, kLanes), flipped, kTile);
      for (int64_t c = 0; c < tile_columns; ++c) {
        auto* result = to + (item * columns + column + c) * rows + row;
        for_each_vector(tile_rows,
                        [&](int64_t r, auto lanes) { store(result + r, load(flipped + c * kTile + r), lanes); });
      }
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
