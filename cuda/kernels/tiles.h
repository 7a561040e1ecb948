// The tiles of matrix products: the part of the output that a block of threads computes, and the choice of the tile and
// the number of splits of K for a shape.
//
// A variant can be forced by name: "128x128", or "64x64/3" to force three splits too. On the sm_90a path, the names are
// those of its own table; the choice for products that the path does not support is not affected.

#pragma once

#include "cuda/kernel.h"
#include "cuda/machine/machine.h"

namespace sana::cuda {

struct Tile {
  int rows, columns;            // part of the output per block; they name the tile, "128x256"
  int warp_rows, warp_columns;  // part of the output per warp
  int step;                     // elements of K per stage
  int stages;                   // stages in shared memory: one is multiplied while the others are being loaded
  int blocks;                   // resident blocks per multiprocessor: limits the registers

  __host__ __device__ constexpr int warps() const { return rows / warp_rows * (columns / warp_columns); }
  __host__ __device__ constexpr int threads() const { return 32 * warps(); }
  // Floats between rows of sums that are staged in shared memory for the epilogue: eight more than a warp's columns, so
  // that rows that a warp writes at once are in different banks.
  __host__ __device__ constexpr int staged_pitch() const { return warp_columns + 8; }
};

// Tensor cores, bf16 and f16. A warp's tile of 64 x 64 reads 64 + 64 elements per element of K for 64 * 64 products.
// With smaller tiles, shared memory is slower than the tensor cores; larger ones do not fit in registers. No tile takes
// more than 99 KB of shared memory, the smallest limit per block of the supported devices, so every tile runs
// everywhere.
inline constexpr Tile kTensorTiles[] = {
    // Large products: the fewest bytes from L2 per product. One block fills a multiprocessor, with 24 KB per stage.
    {128, 256, 64, 64, 32, 4, 1},
    {256, 128, 64, 64, 32, 4, 1},  // few columns: the autoencoder's convolutions have 128
    // Two blocks per multiprocessor: one multiplies while the other finishes its sums or waits.
    {128, 128, 64, 64, 32, 3, 2},
    // Products for which large tiles would leave a part of the chip idle or be mostly padding.
    {128, 64, 64, 32, 32, 4, 3},
    {64, 128, 32, 64, 32, 4, 3},
    // Little work per barrier, so twice as much of K per stage.
    {64, 64, 32, 32, 64, 3, 3},
    // Few rows (text tokens, time steps): bound by reading the weights, so as many loads as possible are in flight.
    {32, 64, 16, 32, 64, 4, 4},
};

// Tensor cores, i8 and f8: the same tiles with twice the elements in the same bytes. The tensor cores multiply them
// twice as fast, so the time per byte from shared memory and L2 is the same as above.
inline constexpr Tile kByteTiles[] = {
    {128, 256, 64, 64, 64, 4, 1}, {256, 128, 64, 64, 64, 4, 1}, {128, 128, 64, 64, 64, 3, 2},
    {128, 64, 64, 32, 64, 4, 3},  {64, 128, 32, 64, 64, 4, 3},  {64, 64, 32, 32, 128, 3, 3},
    {32, 64, 16, 32, 128, 4, 4},
};

// f32 without tensor cores: a thread has 8 x 8 sums, a warp 32 x 64. The f32 units are so slow compared with memory
// that only the number of blocks matters.
inline constexpr Tile kExactTiles[] = {
    {128, 64, 32, 64, 16, 4, 2},
    {64, 64, 32, 64, 16, 4, 4},
};

// wgmma of sm_90a, for bf16 and f16: each of eight warps multiplies 16 or 32 rows by all columns. The widths are chosen
// so that the last wave of tiles of most of the models' products nearly fills 132 multiprocessors. Taller tiles need
// fewer bytes from L2 per product, which is the bound of the narrow ones. There are as many stages as fit beside the
// staged sums.
inline constexpr int kHopperStep = 64;  // elements of K: 128 bytes, the width of the swizzle
inline constexpr Tile kHopperTiles[] = {
    {128, 128, 16, 128, 64, 6, 1},
    {128, 144, 16, 144, 64, 6, 1},
    {128, 160, 16, 160, 64, 5, 1},
    {128, 176, 16, 176, 64, 5, 1},
    {128, 192, 16, 192, 64, 5, 1},
    {128, 208, 16, 208, 64, 4, 1},
    {128, 224, 16, 224, 64, 4, 1},
    {128, 256, 16, 256, 64, 4, 1},
    // Two products of 64 rows per warpgroup: with more columns, the sums do not fit in registers.
    {256, 128, 32, 128, 64, 4, 1},
    {256, 144, 32, 144, 64, 4, 1},
    // Few columns: the last convolution has three, the last matrix of the transformer 32.
    {256, 64, 32, 64, 64, 5, 1},
};

// The table for x of type T, and the tile for x that cannot be copied 16 bytes at a time.
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

// Bytes of shared memory: for the stages, and later, in the same memory, for the sums of every warp, 16 rows (4 for
// f32) at a time.
constexpr int shared_bytes(const Tile& tile, int element_bytes) {
  const int stages = tile.stages * (tile.rows + tile.columns) * tile.step * element_bytes;
  const int staged = tile.warps() * (element_bytes == 4 ? 4 : 16) * tile.staged_pitch() * 4;
  return stages > staged ? stages : staged;
}

// The units that multiply. Each has its own table of tiles.
enum class Unit { kExact, kTensor, kByte, kHopper };

// The properties of a product that the choice depends on.
struct Shape {
  int64_t rows;  // rows of the output, per phase
  int64_t sums;  // rows of the weights, per phase
  int phases;
  int inputs;  // K, with padding
  Unit unit;
  bool general;  // x cannot be copied 16 bytes at a time
};

// The index of a tile in its unit's table, and the number of splits of K. The sums of the splits go to the workspace,
// where a second kernel adds them up in order.
struct Choice {
  int tile;
  int splits;
};

// The number of sums per row that a split stores: padded to whole groups of eight.
constexpr int64_t padded_sums(int64_t sums) {
  return divide_up(sums, 8) * 8;
}

// The choice for a shape that has at least one sum. Throws if stream.variant is unknown.
Choice choose_tile(const Shape&, const Stream&);

const Tile& tile_of(Unit, int index);

}  // namespace sana::cuda
