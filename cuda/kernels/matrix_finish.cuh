// What the kernels of matrix products share: which tile of the output is a block's turn, and finishing its sums once
// they lie in shared memory.

#pragma once

#include "cuda/kernels/matrix.h"
#include "cuda/kernels/tiles.h"

namespace sana::cuda {

struct Position {
  int64_t row;  // the tile's first
  int64_t column;
  int phase, split;
};

// The tile `index` of a split. Blocks that run at the same time share what they read in L2: successive tiles cover a
// group of row tiles by as many column tiles as it takes, not whole rows of tiles.
__device__ __forceinline__ Position position(const Product& p, const Cut& cut, const Tile& tile, unsigned index,
                                             unsigned split) {
  constexpr unsigned kGroupRows = 8;
  const unsigned group = index / (kGroupRows * cut.column_tiles);
  const unsigned in_group = index % (kGroupRows * cut.column_tiles);
  const unsigned height = min(cut.row_tiles - group * kGroupRows, kGroupRows);
  const unsigned columns = cut.column_tiles / p.phases;
  const unsigned column = in_group / height;
  return {int64_t(group * kGroupRows + in_group % height) * tile.rows, int64_t(column % columns) * tile.columns,
          static_cast<int>(column / columns), static_cast<int>(split)};
}

// The row of out that row `row` of a phase is.
__device__ __forceinline__ int64_t out_row(const Product& p, int phase, int64_t row) {
  if (p.phases == 1) return row;
  const int64_t line = row / p.out_width, x = row - line * p.out_width;
  return (2 * line + phase / 2) * 2 * p.out_width + 2 * x + phase % 2;
}

// Finishes `rows` by `columns` sums, with the lanes of a warp, or leaves them in the workspace. They lie in shared
// memory, staged [rows, pitch], and begin at (row, column) of the tile; `columns` is a multiple of 16.
template <class T, int rows, int pitch>
__device__ __forceinline__ void finish_rows(const Product& p, const Cut& cut, const Position& at, int row, int column,
                                            int columns, const float* staged) {
  const Epilogue& e = p.epilogue;
  const int64_t first_row = at.row + row, all_rows = p.rows();
  const int64_t first_column = at.column + column;
  const int group_sums = e.gated && !cut.partial ? 2 * kGroup : kGroup;
  const int groups = columns / group_sums;
#pragma unroll 1
  for (int i = threadIdx.x % 32; i < rows * groups; i += 32) {
    const int64_t row = first_row + i / groups;
    const int64_t column = first_column + i % groups * group_sums;
    if (row >= all_rows || column >= p.sums) continue;
    const float* group = staged + i / groups * pitch + i % groups * group_sums;
    float values[kGroup], others[kGroup];
    load<kGroup>(group, values);
    if (cut.partial) {
      const int64_t part = (int64_t(at.split) * p.phases + at.phase) * all_rows + row;
      store<kGroup>(cut.partial + part * cut.partial_columns + column, values);
    } else {
      if (e.gated) load<kGroup>(group + kGroup, others);
      finish_group<T>(e, out_row(p, at.phase, row), column / group_sums * kGroup, values, others);
    }
  }
}

}  // namespace sana::cuda
