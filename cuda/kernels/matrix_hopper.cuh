// The kernel of the matrix product of matrix.h on compute capability 9.0, for x of bf16 or f16.
//
// Blocks are persistent: a block computes one tile after another. One of its threads, the producer, starts the copies
// of the steps of K into a ring of stages, as boxes of tensors that the tensor memory accelerator fetches. Two
// warpgroups, the consumers, each multiply half of the tile's rows from shared memory. They synchronise at two barriers
// per stage, "full" and "empty", and nowhere else: while the consumers finish the sums of a tile, the first steps of
// the next one arrive.
//
// A convolution's step is 64 channels of one tap. The accelerator iterates over the output pixels, across the ends of
// rows and images and over the borders (its im2col mode). The tiled mode would require tiles that are rectangles of the
// image. Here a tile is any run of pixels, like the rows of a matrix, so that images of any size waste nothing and the
// epilogue is the same.
//
// Bound by tensor cores, 2048 products per cycle and multiprocessor, if a tile's (rows + columns) 128 bytes per step
// arrive from L2 within the rows columns / 32 cycles that multiplying takes. Finishing the sums does not overlap with
// products. Tiles: kHopperTiles in tiles.h.

#pragma once

#include <utility>

#include "cuda/kernels/matrix_finish.cuh"
#include "cuda/machine/hopper.h"
#include "cuda/tensor_maps.h"

namespace sana::cuda {

// ---- a block's threads and shared memory ----------------------------------------------------------------------------

// Warps 0..7 are the consumers and warp 8 contains the producer. The three warps after it only complete its warpgroup,
// which releases registers that the consumers take: 40 and 2 x 232 of 3 x 168.
constexpr int kConsumers = 2;
constexpr int kConsumerWarps = kConsumers * kWarpgroup / 32;
constexpr int kHopperThreads = (kConsumers + 1) * kWarpgroup;
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
constexpr int kGroupRows = 64;  // rows of the output that a warpgroup multiplies at a time

// A warp stages 16 rows by 32 columns of sums at a time for the epilogue. For the pitch see Tile::staged_pitch.
constexpr int kPieceColumns = 32;
constexpr int kPiecePitch = kPieceColumns + 8;
constexpr int kPieceFloats = 16 * kPiecePitch;

template <class T, Tile tile>
struct Ring {
  static constexpr int kLeftBytes = tile.rows * tile.step * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kLeftBytes + tile.columns * tile.step * static_cast<int>(sizeof(T));
  static constexpr int kStagedAt = tile.stages * kStageBytes;
  static constexpr int kBarriersAt = kStagedAt + kConsumerWarps * kPieceFloats * 4;
  static constexpr int kBytes = kBarriersAt + 2 * tile.stages * static_cast<int>(sizeof(Barrier));
  static_assert(kLeftBytes % 1024 == 0 && kStageBytes % 1024 == 0, "the swizzle repeats every 1024 bytes");
  static_assert(kBytes <= 227 * 1024);

  char* shared;
  Barrier* full;
  Barrier* empty;
  int stage = 0;
  uint32_t parity = 0;  // parity of the phase of `full` that the next step's copies complete

  __device__ __forceinline__ explicit Ring(char* shared)
      : shared(shared), full(reinterpret_cast<Barrier*>(shared + kBarriersAt)), empty(full + tile.stages) {}

  __device__ __forceinline__ char* left() const { return shared + stage * kStageBytes; }
  __device__ __forceinline__ char* right() const { return left() + kLeftBytes; }
  __device__ __forceinline__ void next() {
    if (++stage < tile.stages) return;
    stage = 0;
    parity ^= 1;
  }
};

// The position of a step of K: 64 channels of one tap.
struct Step {
  int channel, tap;

  __device__ __forceinline__ Step(const Product& p, int index) {
    const int of_tap = (p.channels + kHopperStep - 1) / kHopperStep;
    tap = index / of_tap;
    channel = (index - tap * of_tap) * kHopperStep;
  }
  __device__ __forceinline__ void next(const Product& p) {
    channel += kHopperStep;
    if (channel < p.channels) return;
    channel = 0;
    ++tap;
  }
};

// The steps of a split.
struct Steps {
  int first, count;

  __device__ __forceinline__ Steps(const Product& p, const Cut& cut, int split) {
    const int of_tap = (p.channels + kHopperStep - 1) / kHopperStep;
    first = split * cut.steps;
    count = min(cut.steps, p.kernel_height * p.kernel_width * of_tap - first);
  }
};

// Calls body(position) for every tile of this block, in the same order for all of its threads.
template <Tile tile, class Body>
__device__ __forceinline__ void each_tile(const Product& p, const Cut& cut, Body&& body) {
  const unsigned tiles = cut.row_tiles * cut.column_tiles;
  for (int64_t i = blockIdx.x; i < int64_t(tiles) * cut.splits; i += gridDim.x) {
    body(position(p, cut, tile, static_cast<unsigned>(i % tiles), static_cast<unsigned>(i / tiles)));
  }
}

// ---- the producer ---------------------------------------------------------------------------------------------------

template <class T, Tile tile>
__device__ __forceinline__ void produce(const CUtensorMap& image, const CUtensorMap& weights, const Product& p,
                                        const Cut& cut, Ring<T, tile> ring) {
  const int before = p.phases == 1 ? p.kernel_width / 2 : 1, above = p.phases == 1 ? p.kernel_height / 2 : 1;
  each_tile<tile>(p, cut, [&](const Position& at) {
    const int64_t line = at.row / p.out_width, in_images = line / p.out_height;
    const int x = static_cast<int>(at.row - line * p.out_width) * p.stride - before;
    const int y = static_cast<int>(line - in_images * p.out_height) * p.stride - above;
    const Steps steps(p, cut, at.split);
    Step step(p, steps.first);
    for (int i = 0; i < steps.count; ++i, step.next(p), ring.next()) {
      Barrier* const full = &ring.full[ring.stage];
      barrier_wait(&ring.empty[ring.stage], ring.parity ^ 1);
      barrier_arrive_expecting(full, Ring<T, tile>::kStageBytes);
      if (p.is_matrix()) {
        copy_tile(ring.left(), image, full, step.channel, static_cast<int>(at.row), 0, 0);
      } else {
        // Phase (a, b) of upsampleConv2d reads pixels i + a - 1 and i + a.
        const int ky = step.tap / p.kernel_width, kx = step.tap - ky * p.kernel_width;
        copy_pixels(ring.left(), image, full, step.channel, x, y, static_cast<int>(in_images), kx + at.phase % 2,
                    ky + at.phase / 2);
      }
      copy_tile(ring.right(), weights, full, step.channel, step.tap, static_cast<int>(at.column), at.phase);
    }
  });
}

// ---- the consumers --------------------------------------------------------------------------------------------------

// A warpgroup's sums: `blocks` times 64 rows.
template <class T, Tile tile>
struct Sums {
  static constexpr int kBlocks = tile.rows / kConsumers / kGroupRows;
  static constexpr int kRowBytes = tile.step * static_cast<int>(sizeof(T));

  float sums[kBlocks][tile.columns / 8][4];

  // Queues the product of a step that has arrived. `first`: the tile's first step, which initialises the sums. Known at
  // compile time, so that the compiler need not define the sums before.
  template <bool first>
  __device__ __forceinline__ void multiply(const Ring<T, tile>& ring, int group) {
    barrier_wait(&ring.full[ring.stage], ring.parity);
    wgmma_fence();
    const uint64_t left = matrix_descriptor(ring.left() + group * kBlocks * kGroupRows * kRowBytes);
    const uint64_t right = matrix_descriptor(ring.right());
#pragma unroll
    for (int k = 0; k < tile.step / 16; ++k) {
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        constexpr uint64_t kBlockStep = kGroupRows * kRowBytes / 16;
        wgmma<T>(sums[block], left + block * kBlockStep + k * kDescriptorStep, right + k * kDescriptorStep,
                 k > 0 || !first);
      }
    }
    wgmma_commit();
  }

  // Finishes the sums of a warp through `staged`, the warp's shared memory: in pieces, because little shared memory is
  // left.
  __device__ __forceinline__ void finish(const Product& p, const Cut& cut, const Position& at, int group,
                                         float* staged) const {
    constexpr int kPieces = (tile.columns + kPieceColumns - 1) / kPieceColumns;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    float* const to = staged + lane / 4 * kPiecePitch + lane % 4 * 2;
#pragma unroll 1
    for (int i = 0; i < kBlocks * kPieces; ++i) {
#pragma unroll
      for (int j = 0; j < kBlocks * kPieces; ++j) {  // unrolled: registers cannot be indexed at run time
        if (i == j) stage(j / kPieces, j % kPieces, to);
      }
      __syncwarp();
      const int column = i % kPieces * kPieceColumns;
      const int row = (group * kBlocks + i / kPieces) * kGroupRows + warp * 16;
      finish_rows<T, 16, kPiecePitch>(p, cut, at, row, column, min(tile.columns - column, kPieceColumns), staged);
      __syncwarp();
    }
  }

 private:
  __device__ __forceinline__ void stage(int block, int piece, float* to) const {
#pragma unroll
    for (int j = 0; j < kPieceColumns / 8; ++j) {
      const int from = piece * (kPieceColumns / 8) + j;
      if (from >= tile.columns / 8) break;
      const auto& sum = sums[block][from];
      store<2>(to + j * 8, {sum[0], sum[1]});
      store<2>(to + j * 8 + 8 * kPiecePitch, {sum[2], sum[3]});
    }
  }
};

template <class T, Tile tile>
__device__ __forceinline__ void consume(const Product& p, const Cut& cut, Ring<T, tile> ring) {
  const int warp = threadIdx.x / 32, group = threadIdx.x / kWarpgroup;
  float* const staged = reinterpret_cast<float*>(ring.shared + Ring<T, tile>::kStagedAt) + warp * kPieceFloats;
  const bool tells = threadIdx.x % 32 == 0;  // one thread of each warp arrives for it
  each_tile<tile>(p, cut, [&](const Position& at) {
    Sums<T, tile> sums;
    const int steps = Steps(p, cut, at.split).count;
    sums.template multiply<true>(ring, group);
    int before = ring.stage;  // this stage is empty once its step has been multiplied
    ring.next();
    for (int i = 1; i < steps; ++i, ring.next()) {
      sums.template multiply<false>(ring, group);
      wgmma_wait<1>();
      if (tells) barrier_arrive(&ring.empty[before]);
      before = ring.stage;
    }
    wgmma_wait<0>();
    if (tells) barrier_arrive(&ring.empty[before]);
#pragma unroll
    for (auto& block : sums.sums) wgmma_settled(block);
    sums.finish(p, cut, at, group, staged);
  });
}

// ---- kernel ---------------------------------------------------------------------------------------------------------

template <class T, int index>
__global__ void __launch_bounds__(kHopperThreads, 1)
    hopper_kernel(const __grid_constant__ CUtensorMap image, const __grid_constant__ CUtensorMap weights,
                  const __grid_constant__ Product p, const __grid_constant__ Cut cut) {
#if SANA_HOPPER_CODE
  SANA_DYNAMIC_SHARED(char, memory);
  constexpr Tile tile = kHopperTiles[index];
  const Ring<T, tile> ring(memory);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < tile.stages; ++stage) {
      barrier_init(&ring.full[stage], 1);
      barrier_init(&ring.empty[stage], kConsumerWarps);
    }
    barrier_init_done();
  }
  __syncthreads();
  if (threadIdx.x / kWarpgroup == kConsumers) {
    give_registers_up<kProducerRegisters>();
    if (threadIdx.x == kConsumers * kWarpgroup) produce(image, weights, p, cut, ring);
  } else {
    take_registers<kConsumerRegisters>();
    consume(p, cut, ring);
  }
#endif
}

// ---- launchers ------------------------------------------------------------------------------------------------------

// The operands as tensor maps.
template <class T>
MappedTensor mapped_image(const Product& p, Source source) {
  const auto channels = static_cast<uint64_t>(p.channels), pixel = static_cast<uint64_t>(p.pitch) * sizeof(T);
  const DType dtype = std::is_same_v<T, bf16> ? DType::kBF16 : DType::kF16;
  if (source == Source::kMatrix) {
    const auto rows = static_cast<uint64_t>(p.rows());
    return {p.image, dtype, {channels, rows, 1, 1}, {pixel, pixel * rows, pixel * rows}};
  }
  const auto width = static_cast<uint64_t>(p.width), height = static_cast<uint64_t>(p.height);
  const auto images = static_cast<uint64_t>(p.images);
  return {p.image, dtype, {channels, width, height, images}, {pixel, pixel * width, pixel * width * height}};
}

template <class T>
MappedTensor mapped_weights(const Product& p) {
  const auto taps = static_cast<uint64_t>(p.kernel_height * p.kernel_width), sums = static_cast<uint64_t>(p.sums);
  const uint64_t tap = static_cast<uint64_t>(p.padded_channels()) * sizeof(T);
  const DType dtype = std::is_same_v<T, bf16> ? DType::kBF16 : DType::kF16;
  return {p.weights,
          dtype,
          {static_cast<uint64_t>(p.channels), taps, sums, static_cast<uint64_t>(p.phases)},
          {tap, tap * taps, tap * taps * sums}};
}

using HopperKernel = void (*)(CUtensorMap, CUtensorMap, Product, Cut);

struct HopperVariant {
  HopperKernel kernel;
  int bytes;  // bytes of shared memory
};

template <class T, int... i>
HopperVariant hopper_variant(int tile, std::integer_sequence<int, i...>) {
  constexpr HopperVariant kVariants[] = {{hopper_kernel<T, i>, Ring<T, kHopperTiles[i]>::kBytes}...};
  return kVariants[tile];
}

template <class T>
void launch_hopper_product(const Product& p, const Cut& cut, Source source, int index, const Stream& stream) {
  constexpr int kCount = sizeof kHopperTiles / sizeof(Tile);
  const auto [kernel, bytes] = hopper_variant<T>(index, std::make_integer_sequence<int, kCount>());
  const Tile& tile = kHopperTiles[index];
  const TensorMaps& maps = *stream.tensor_maps;
  // The phases of upsampleConv2d share the same first pixels and differ in the offsets of the taps.
  const int above = p.phases == 1 ? p.kernel_height / 2 : 1, before = p.phases == 1 ? p.kernel_width / 2 : 1;
  const MappedTensor image = mapped_image<T>(p, source);
  const CUtensorMap image_map =
      source == Source::kMatrix ? maps.tiles(image, 1, tile.rows)
                                : maps.pixels(image, {before, above, p.stride, p.out_width, p.out_height}, tile.rows);
  const CUtensorMap weights_map = maps.tiles(mapped_weights<T>(p), 2, tile.columns);
  const int64_t tiles = int64_t(cut.row_tiles) * cut.column_tiles * cut.splits;
  launch(stream.handle, kernel, static_cast<unsigned>(min(tiles, int64_t(stream.multiprocessors))), kHopperThreads,
         static_cast<size_t>(bytes), image_map, weights_map, p, cut);
}

}  // namespace sana::cuda
