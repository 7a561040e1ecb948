// The tiles of matrix products: what a block of threads computes, and which tile and how many splits of K a shape gets.
//
// A variant is forced by name: "128x128", or "64x64/3" for three splits as well. On the path of sm_90a the names are
// those of its own table, and what it cannot multiply is chosen for as always.

#pragma once

#include "cuda/kernel.h"
#include "cuda/machine/machine.h"

namespace sana::cuda {

struct Tile {
  int rows, columns;            // of the output, per block: the tile's name, "128x256"
  int warp_rows, warp_columns;  // of the output, per warp
  int step;                     // of K that one stage holds
  int stages;                   // of K in shared memory: one is multiplied while the others are on their way
  int blocks;                   // on a multiprocessor at a time: limits the registers

  __host__ __device__ constexpr int warps() const { return rows / warp_rows * (columns / warp_columns); }
  __host__ __device__ constexpr int threads() const { return 32 * warps(); }
  // Floats between rows of sums that wait in shared memory to be finished: eight more than a warp's columns, so that
  // the rows which a warp writes at once fall into different banks.
  __host__ __device__ constexpr int staged_pitch() const { return warp_columns + 8; }
};

// Tensor cores, bf16 and f16. A warp's 64 x 64 reads 64 + 64 elements per step of K for 64 * 64 products: any less, and
// shared memory is slower than the tensor cores; more does not fit in registers. No tile takes more than the 99 KB of
// shared memory that the smallest devices give a block, so that every tile runs everywhere.
inline constexpr Tile kTensorTiles[] = {
    // Large products: the fewest bytes from L2 per product. One block fills a multiprocessor: 24 KB per stage.
    {128, 256, 64, 64, 32, 4, 1},
    {256, 128, 64, 64, 32, 4, 1},  // and few columns: the autoencoder's convolutions have 128
    // Two blocks per multiprocessor: while one finishes its sums or waits, the other multiplies.
    {128, 128, 64, 64, 32, 3, 2},
    // Products that the large tiles would leave a part of the chip idle with, or fill with padding.
    {128, 64, 64, 32, 32, 4, 3},
    {64, 128, 32, 64, 32, 4, 3},
    // Little work per barrier, so twice the K per stage.
    {64, 64, 32, 32, 64, 3, 3},
    // Few rows (text tokens, time steps): bound by reading the weights, so the most of them on their way.
    {32, 64, 16, 32, 64, 4, 4},
};

// Tensor cores, i8 and f8: the same tiles with twice the elements in the same bytes. The tensor cores multiply them
// twice as fast, so shared memory and L2 have as much time for a byte as above.
inline constexpr Tile kByteTiles[] = {
    {128, 256, 64, 64, 64, 4, 1}, {256, 128, 64, 64, 64, 4, 1}, {128, 128, 64, 64, 64, 3, 2},
    {128, 64, 64, 32, 64, 4, 3},  {64, 128, 32, 64, 64, 4, 3},  {64, 64, 32, 32, 128, 3, 3},
    {32, 64, 16, 32, 128, 4, 4},
};

// f32 without tensor cores: a thread has 8 x 8 sums, a warp 32 x 64. The chip's f32 units are so much slower than its
// memory that only the number of blocks matters.
inline constexpr Tile kExactTiles[] = {
    {128, 64, 32, 64, 16, 4, 2},
    {64, 64, 32, 64, 16, 4, 4},
};

// wgmma of sm_90a, bf16 and f16: eight warps multiply, 16 or 32 rows each, and all columns. The widths are such that
// most products of the models end with a wave of tiles that nearly fills 132 multiprocessors; taller tiles have fewer
// bytes from L2 per product, which bounds the narrow ones. As many stages as fit beside the sums that wait to be
// finished.
inline constexpr int kHopperStep = 64;  // of K: 128 bytes, which is how wide the swizzle is
inline constexpr Tile kHopperTiles[] = {
    {128, 128, 16, 128, 64, 6, 1},
    {128, 144, 16, 144, 64, 6, 1},
    {128, 160, 16, 160, 64, 5, 1},
    {128, 176, 16, 176, 64, 5, 1},
    {128, 192, 16, 192, 64, 5, 1},
    {128, 208, 16, 208, 64, 4, 1},
    {128, 224, 16, 224, 64, 4, 1},
    {128, 256, 16, 256, 64, 4, 1},
    // Two products of 64 rows for each warpgroup: with more columns than these the sums do not fit into registers.
    {256, 128, 32, 128, 64, 4, 1},
    {256, 144, 32, 144, 64, 4, 1},
    // Few columns: the last convolution has three, the last matrix of the transformer 32.
    {256, 64, 32, 64, 64, 5, 1},
};

// The table for x of type T, and what x that cannot be copied 16 bytes at a time is multiplied with.
template <class T>
__host__ __device__ constexpr const auto& tiles() {
  if constexpr (sizeof(T) == 4) {
    return kExactTiles;
  } else if constexpr (sizeof(T) == 1) {
    return kByteTiles;
  } else {
    return kTensorTiles;
  }
}
template <class T>
inline constexpr int kTileCount = sizeof(tiles<T>()) / sizeof(Tile);
template <class T>
inline constexpr int kGeneralTile = sizeof(T) == 4 ? 1 : 5;  // 64 x 64

// Bytes of shared memory: the stages, and later in their place the sums of every warp, 16 rows (of f32: 4) at a time.
constexpr int shared_bytes(const Tile& tile, int element_bytes) {
  const int stages = tile.stages * (tile.rows + tile.columns) * tile.step * element_bytes;
  const int staged = tile.warps() * (element_bytes == 4 ? 4 : 16) * tile.staged_pitch() * 4;
  return stages > staged ? stages : staged;
}

// What multiplies, and whose table is chosen from.
enum class Unit { kExact, kTensor, kByte, kHopper };

// What a product's choice depends on.
struct Shape {
  int64_t rows;  // of the output, per phase
  int64_t sums;  // rows of the weights, per phase
  int phases;
  int inputs;  // K, with what pads it
  Unit unit;
  bool general;  // x cannot be copied 16 bytes at a time
};

// A tile by its index in its unit's table, and into how many parts K is split. The parts' sums go to the workspace,
// where a second kernel adds them up in order.
struct Choice {
  int tile;
  int splits;
};

// Sums that a split keeps of a row: whole groups of eight.
constexpr int64_t padded_sums(int64_t sums) {
  return divide_up(sums, 8) * 8;
}

// The choice for a shape that has any sums at all. Throws when stream.variant is unknown.
Choice choose_tile(const Shape&, const Stream&);

const Tile& tile_of(Unit, int index);

}  // namespace sana::cuda
