// c = a b or c += a b. The sums of a block of a few rows by a few vectors are in registers. Each row of b is loaded
// once per block, and each element of a is broadcast to the vectors of its row.

#include "cpu/kernels/tile_product.h"

#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

namespace {

// Rows by vectors of a block: 16 sums with 32 registers, 8 with 16.
#if defined(SANA_AVX512)
constexpr int kSums = 16;
constexpr int kMostVectors = 4;
#else
constexpr int kSums = 8;
constexpr int kMostVectors = 2;
#endif

template <int kRows, int kVectors>
void block(const TileProduct& p, int64_t row, int64_t column) {
  Vec sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = zero();
  }
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + column;
  for (int64_t j = 0; j < p.depth; ++j, a += p.a_column, b += p.b_row) {
    Vec bj[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) bj[v] = load(b + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vec aij = splat(a[i * p.a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = add_product(sum[i][v], aij, bj[v]);
    }
  }
  float* c = p.c + row * p.c_row + column;
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i, c += p.c_row) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      store(c + v * kLanes, p.add ? load(c + v * kLanes) + sum[i][v] : sum[i][v]);
    }
  }
}

template <int kRows, int kVectors>
int64_t rows_of_blocks(const TileProduct& p, int64_t row, int64_t column) {
  for (; row + kRows <= p.rows; row += kRows) block<kRows, kVectors>(p, row, column);
  if constexpr (kRows > 1) row = rows_of_blocks<kRows / 2, kVectors>(p, row, column);
  return row;
}

template <int kVectors>
int64_t columns_of_blocks(const TileProduct& p, int64_t column) {
  constexpr int kRows = kSums / kVectors < 8 ? kSums / kVectors : 8;
  for (; column + kVectors * kLanes <= p.columns; column += kVectors * kLanes) {
    rows_of_blocks<kRows, kVectors>(p, 0, column);
  }
  if constexpr (kVectors > 1) column = columns_of_blocks<kVectors / 2>(p, column);
  return column;
}

}  // namespace

void tile_product(const TileProduct& p) {
  columns_of_blocks<kMostVectors>(p, 0);
}

}  // namespace sana::cpu::SANA_ISA
