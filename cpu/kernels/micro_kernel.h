// The innermost loop of every matrix product: a tile of a few rows by two vectors of columns, its sums in registers.
//
//   sums[i][j] += sum over taps and lanes k of  rows[i][tap][k] * weights[tap][k][j]
//
// The sum of an element runs over ascending (tap row, tap column, k) in one accumulator, whatever the tile's size: a
// tile of one row gives the same bits as a full one.

#pragma once

#include "cpu/kernels/products.h"
#include "cpu/pack.h"

namespace sana::cpu::SANA_ISA {

// Rows of a full tile. 12 x 2 vectors of AVX-512 take 24 of 32 registers; with other instruction sets 6 x 2 vectors
// take 12 of 16. Both keep two FMA units busy (which needs latency x units = 8 to 10 independent sums) and read each
// weight once for 12 or 6 rows.
#ifdef SANA_AVX512
inline constexpr int kTileRows = 12;
#else
inline constexpr int kTileRows = 6;
#endif
inline constexpr int kTileColumns = 2 * kLanes;

// The offsets of a kernel's taps from a staged row, in floats. With a stride s, every s-th line of the image goes to
// the same plane, so that the rows of a tile are one pitch apart in memory.
struct Taps {
  int64_t height, width, stride;
  int64_t pixel, line, plane;
};

struct Tile {
  const float* rows;  // first row of the staged activations
  int64_t row_pitch;
  const float* weights;  // [taps][tap_pitch], of which [lanes][32] are used
  int64_t tap_pitch;
  int64_t lanes;
  float* sums;  // [rows][32] f32
  bool first;   // nothing has been summed yet
};

template <class Product, int kRows>
static void multiply_tile(const Taps& taps, const Tile& tile) {
  constexpr int kGroups = (kRows + 2) / 3;  // each group of three rows shares a pointer: base, + pitch, + 2 pitch
  constexpr int kUnroll = 4;
  Vec sums[kRows][2];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    sums[i][0] = tile.first ? zero() : load(tile.sums + i * kPanelColumns);
    sums[i][1] = tile.first ? zero() : load(tile.sums + i * kPanelColumns + kLanes);
  }
  const int64_t pitch = tile.row_pitch;
  const float* tap_weights = tile.weights;
  const float* line = tile.rows;
  for (int64_t y = 0; y < taps.height; ++y) {
    for (int64_t x = 0; x < taps.width; ++x, tap_weights += tile.tap_pitch) {
      const float* rows[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) rows[g] = line + x * taps.pixel + 3 * g * pitch;
      const float* w = tap_weights;
      int64_t left = tile.lanes;
      for (; left >= kUnroll; left -= kUnroll) {
#pragma GCC unroll 4
        for (int k = 0; k < kUnroll; ++k) Product::step(rows, pitch, k, w + k * kPanelColumns, sums);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) rows[g] += kUnroll * Product::kStaged;
        w += kUnroll * kPanelColumns;
      }
      for (; left > 0; --left, w += kPanelColumns) {
        Product::step(rows, pitch, 0, w, sums);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) rows[g] += Product::kStaged;
      }
    }
    line += taps.plane;  // the next image line: in the next plane, or the next line of the first one
    if (y % taps.stride == taps.stride - 1) line += taps.line - taps.stride * taps.plane;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    store(tile.sums + i * kPanelColumns, sums[i][0]);
    store(tile.sums + i * kPanelColumns + kLanes, sums[i][1]);
  }
}

using MultiplyTile = void (*)(const Taps&, const Tile&);

// kMultiplyTile<Product>[n]: the tile of n rows.
template <class Product>
inline constexpr MultiplyTile kMultiplyTile[] = {
    nullptr,
    multiply_tile<Product, 1>,
    multiply_tile<Product, 2>,
    multiply_tile<Product, 3>,
    multiply_tile<Product, 4>,
    multiply_tile<Product, 5>,
    multiply_tile<Product, 6>,
#ifdef SANA_AVX512
    multiply_tile<Product, 7>,
    multiply_tile<Product, 8>,
    multiply_tile<Product, 9>,
    multiply_tile<Product, 10>,
    multiply_tile<Product, 11>,
    multiply_tile<Product, 12>,
#endif
};

}  // namespace sana::cpu::SANA_ISA
