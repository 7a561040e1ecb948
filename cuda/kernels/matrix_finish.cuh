// Shared by the kernels of matrix products: the order of the output tiles, and the finishing of sums that are in shared
// memory.

#pragma once

#include <type_traits>

#include "cuda/kernels/matrix.h"
#include "cuda/kernels/tiles.h"

namespace sana::cuda {

struct Position {
  int64_t row;  // the tile's first row
  int64_t column;
  int phase, split;
};

// The tile with this index in a split. Blocks that run at the same time should share data in L2, so successive tiles
// cover a group of row tiles, column by column, and not whole rows of tiles.
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

// The row of out for row `row` of a phase.
__device__ __forceinline__ int64_t out_row(const Product& p, int phase, int64_t row) {
  if (p.phases == 1) return p.first_row + row;
  const int64_t line = row / p.out_width, x = row - line * p.out_width;
  return (2 * line + phase / 2) * 2 * p.out_width + 2 * x + phase % 2;
}

// The type of sums of products of T: f32, or i32 for i8.
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, int8_t>, int32_t, float>;

// Whether T is the type of quantised rows, whose sums are multiplied by two scales.
template <class T>
inline constexpr bool kIsQuantized = sizeof(T) == 1;

// Converts a group of complete sums to f32, with scales if quantised; (row, column) is its place in the product.
template <class T>
__device__ __forceinline__ void scale_sums(const Product& p, int64_t row, int64_t column, const Sum<T> (&sums)[kGroup],
                                           float (&values)[kGroup]) {
  if constexpr (kIsQuantized<T>) {
    const float row_scale = p.image_scales[row];
    load<kGroup>(p.weight_scales + column, values);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) values[i] = static_cast<float>(sums[i]) * (row_scale * values[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) values[i] = sums[i];
  }
}

// The lanes of a warp finish `rows` by `columns` sums, or store them in the workspace if K is split. The sums are in
// shared memory, staged [rows, pitch], and begin at (row, column) of the tile; `columns` is a multiple of 16.
template <class T, int rows, int pitch>
__device__ __forceinline__ void finish_rows(const Product& p, const Cut& cut, const Position& at, int row, int column,
                                            int columns, const Sum<T>* staged) {
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
    const Sum<T>* group = staged + i / groups * pitch + i % groups * group_sums;
    Sum<T> sums[kGroup];
    float values[kGroup], others[kGroup];
    load<kGroup>(group, sums);
    if (cut.partial) {
      const int64_t part = (int64_t(at.split) * p.phases + at.phase) * all_rows + row;
      store<kGroup>(static_cast<Sum<T>*>(cut.partial) + part * cut.partial_columns + column, sums);
    } else {
      scale_sums<T>(p, row, column, sums, values);
      if (e.gated) {
        load<kGroup>(group + kGroup, sums);
        scale_sums<T>(p, row, column + kGroup, sums, others);
      }
      finish_group<T>(e, out_row(p, at.phase, row), column / group_sums * kGroup, values, others);
    }
  }
}

}  // namespace sana::cuda
