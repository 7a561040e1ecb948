// The kernels of the matrix product of matrix.h, for one type of x: with tensor cores for bf16, f16, i8 and f8, with
// plain f32 arithmetic for f32, which is the exact mode.
//
// A block computes a tile of the output. K is cut into steps. While one step is multiplied, the following ones are
// loaded by asynchronous copies of 16 bytes into a ring of stages in shared memory. A convolution copies the pixels of
// each tap directly from the image: the matrix of all taps is never stored. The sums stay in registers until they are
// complete. The epilogue then finishes them through shared memory, a few rows at a time, so that whole lines are read
// and written.
//
// If a shape has too few tiles to fill the chip, K is split over blocks that store their sums in the workspace, and
// combine_kernel adds them up, always in the same order. Sums of i8 remain integers until all are added, so the bits of
// the result do not depend on the splits.
//
// Bound by arithmetic, 2 M N K operations (4/9 of that for upsampleConv2d), except for the smallest M, where it is
// bound by reading the weights once. Tiles: tiles.h.

#pragma once

#include <type_traits>
#include <utility>

#include "cuda/kernels/matrix_finish.cuh"

namespace sana::cuda {

// ---- shared memory --------------------------------------------------------------------------------------------------

// A stage of an operand is rows of `chunks` 16-byte chunks. They are swizzled: the same chunk of eight successive rows
// is at eight different places modulo 128 bytes, so that reading a column of chunks has no bank conflicts.
template <int chunks>
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  static_assert(chunks == 4 || chunks == 8);
  return (row * chunks + (chunk ^ (row / (8 / chunks) % chunks))) * 16;
}

// The chunks of an operand's stage that a thread copies: one in each of the rows first, first + apart, ...
template <class T, int rows, Tile tile>
struct Share {
  static constexpr int kWidth = 16 / sizeof(T);  // elements per chunk
  static constexpr int kChunks = tile.step / kWidth;
  static constexpr int kApart = tile.threads() / kChunks;
  static constexpr int kCount = rows / kApart;
  static constexpr int kBytes = rows * tile.step * static_cast<int>(sizeof(T));
  static_assert(kApart % 8 == 0 && rows % kApart == 0 && kCount <= 32);

  static __device__ __forceinline__ int first() { return static_cast<int>(threadIdx.x) / kChunks; }
  static __device__ __forceinline__ int element() { return static_cast<int>(threadIdx.x) % kChunks * kWidth; }
  static __device__ __forceinline__ char* place(char* stage, int i) {
    return stage + chunk_at<kChunks>(first(), element() / kWidth) + i * kApart * kChunks * 16;
  }
};

// ---- where operands come from ---------------------------------------------------------------------------------------
// A source copies a tile's rows, one step of K after another; elements outside the operand are zero.

// Rows of a matrix that start at multiples of 16 bytes: weights, and x of a pointwise product.
template <class T, int rows, Tile tile>
class Rows {
  using S = Share<T, rows, tile>;

 public:
  // matrix [end, pitch]; the tile's rows begin at `first`; K is k..end_k
  __device__ __forceinline__ Rows(const T* matrix, int64_t pitch, int64_t first, int64_t end, int k, int end_k)
      : at_(matrix + (first + S::first()) * pitch + k + S::element()),
        apart_(S::kApart * pitch),
        left_(end_k - k - S::element()) {
#pragma unroll
    for (int i = 0; i < S::kCount; ++i) valid_ |= uint32_t(first + S::first() + i * S::kApart < end) << i;
  }

  __device__ __forceinline__ void copy(char* stage) {
#pragma unroll
    for (int i = 0; i < S::kCount; ++i) {
      copy_async(S::place(stage, i), at_ + i * apart_, left_ > 0 && (valid_ >> i & 1));
    }
    at_ += tile.step;
    left_ -= tile.step;
  }

 private:
  const T* at_;
  int64_t apart_;
  int left_;
  uint32_t valid_ = 0;
};

// The pixels under each tap: K is taps of channels. Aligned: pixels start at multiples of 16 bytes and have a multiple
// of eight channels. Otherwise the general path: element by element, for any number of channels and any view.
template <class T, Tile tile, bool aligned>
class Pixels {
  using S = Share<T, tile.rows, tile>;

 public:
  __device__ __forceinline__ Pixels(const Product& product, int phase, int64_t first, int k) : p_(product) {
    // Phase (a, b) of upsampleConv2d reads pixels i + a - 1 and i + a.
    const int above = p_.phases == 1 ? p_.kernel_height / 2 : 1 - phase / 2;
    const int before = p_.phases == 1 ? p_.kernel_width / 2 : 1 - phase % 2;
#pragma unroll
    for (int i = 0; i < S::kCount; ++i) {
      const int64_t row = first + S::first() + i * S::kApart;
      const int64_t line = row / p_.out_width, image = line / p_.out_height;
      const int x = static_cast<int>(row - line * p_.out_width) * p_.stride - before;
      const int y = static_cast<int>(line - image * p_.out_height) * p_.stride - above;
      pixel_[i] = static_cast<const T*>(p_.image) + ((image * p_.height + y) * p_.width + x) * p_.pitch;
      const auto inside = [](int from, int size, int taps) {  // bit t: from + t is inside the image
        return ((1u << min(max(size - from, 0), taps)) - 1) & ~0u << max(-from, 0);
      };
      const uint32_t columns = inside(x, p_.width, p_.kernel_width);
      seen_[i] = image < p_.images ? columns | inside(y, p_.height, p_.kernel_height) << 16 : 0;
    }
    skip(k + S::element());
  }

  __device__ __forceinline__ void copy(char* stage) {
#pragma unroll
    for (int i = 0; i < S::kCount; ++i) {
      const bool valid = (seen_[i] & tap_) == tap_;
      const T* from = pixel_[i] + offset_;
      if constexpr (aligned) {
        copy_async(S::place(stage, i), from, valid);
      } else {
        Vector<T, S::kWidth> chunk;
#pragma unroll
        for (int j = 0; j < S::kWidth; ++j) {
          chunk.elements[j] = valid && channel_ + j < p_.channels ? from[j] : from_float<T>(0.0f);
        }
        *reinterpret_cast<Vector<T, S::kWidth>*>(S::place(stage, i)) = chunk;
      }
    }
    skip(tile.step);
  }

 private:
  // Advances by `count` elements of K.
  __device__ __forceinline__ void skip(int count) {
    const int channels = aligned ? p_.channels : p_.padded_channels();
    channel_ += count;
    offset_ += count;
    while (channel_ >= channels && tap_ < kPastAll) {
      channel_ -= channels;
      offset_ += p_.pitch - channels;
      tap_ += tap_ & 0xffffu;
      if (tap_ >> p_.kernel_width & 1) {
        tap_ = (tap_ & 0xffff0000u) * 2 | 1;
        offset_ += (p_.width - p_.kernel_width) * p_.pitch;
      }
    }
  }

  static constexpr uint32_t kPastAll = 0x80000000u;  // kernels have at most 15 rows and columns

  const Product& p_;
  const T* pixel_[S::kCount];  // the pixels of the first tap
  // Bit kx of the lower half: column kx of the kernel is inside the image. Bit ky of the upper half: row ky is.
  uint32_t seen_[S::kCount];
  uint32_t tap_ = 0x10001;  // the same bits for the current tap
  int64_t offset_ = 0;      // offset of its pixel and channel
  int channel_ = 0;
};

// ---- multiplying ----------------------------------------------------------------------------------------------------

// A warp's place in its tile.
template <Tile tile>
__device__ __forceinline__ int warp_row() {
  return static_cast<int>(threadIdx.x) / 32 / (tile.columns / tile.warp_columns) * tile.warp_rows;
}
template <Tile tile>
__device__ __forceinline__ int warp_column() {
  return static_cast<int>(threadIdx.x) / 32 % (tile.columns / tile.warp_columns) * tile.warp_columns;
}

// A warp's sums. A step of K is multiplied in parts: while one part is multiplied, the next is loaded into the other of
// two sets of registers.

// On tensor cores: each part is two chunks, 16 elements of 16 bits or 32 of i8 or f8.
template <class T, Tile tile>
struct Multiplier {
  static constexpr int kChunks = tile.step * sizeof(T) / 16;
  static constexpr int kParts = kChunks / 2;
  static constexpr int kDown = tile.warp_rows / 16, kAcross = tile.warp_columns / 8;

  Sum<T> sums[kDown][kAcross][4] = {};
  uint32_t left[2][kDown][4], right[2][kAcross / 2][4];

  __device__ __forceinline__ void load_part(int set, const char* left_stage, const char* right_stage, int part) {
    const int lane = threadIdx.x % 32;
    left_stage += chunk_at<kChunks>(warp_row<tile>() + lane % 16, part * 2 + lane / 16);
    right_stage += chunk_at<kChunks>(warp_column<tile>() + lane / 16 * 8 + lane % 8, part * 2 + lane / 8 % 2);
#pragma unroll
    for (int i = 0; i < kDown; ++i) load_matrices(left[set][i], left_stage + i * 16 * kChunks * 16);
#pragma unroll
    for (int j = 0; j < kAcross / 2; ++j) load_matrices(right[set][j], right_stage + j * 16 * kChunks * 16);
  }

  __device__ __forceinline__ void multiply_part(int set) {
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        mma<T>(sums[i][j], left[set][i], right[set][j / 2][j % 2 * 2], right[set][j / 2][j % 2 * 2 + 1]);
      }
    }
  }

  // `staged`: shared memory of the block.
  __device__ __forceinline__ void finish(const Product& p, const Cut& cut, const Position& at, Sum<T>* staged) const {
    const int lane = threadIdx.x % 32;
    staged += threadIdx.x / 32 * 16 * tile.staged_pitch();
    Sum<T>* to = staged + lane / 4 * tile.staged_pitch() + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        store<2>(to + j * 8, {sums[i][j][0], sums[i][j][1]});
        store<2>(to + j * 8 + 8 * tile.staged_pitch(), {sums[i][j][2], sums[i][j][3]});
      }
      __syncwarp();
      finish_rows<T, 16, tile.staged_pitch()>(p, cut, at, warp_row<tile>() + i * 16, warp_column<tile>(),
                                              tile.warp_columns, staged);
      __syncwarp();
    }
  }
};

// In f32: each part is two elements of K. Lane l has rows l / 8, l / 8 + 4, ... and columns l % 8, l % 8 + 8, ...
template <Tile tile>
struct Multiplier<float, tile> {
  static constexpr int kParts = tile.step / 2;
  static constexpr int kChunks = tile.step / 4;
  static constexpr int kDown = tile.warp_rows / 4, kAcross = tile.warp_columns / 8;

  float sums[kDown][kAcross] = {};
  float left[2][kDown][2], right[2][kAcross][2];

  static __device__ __forceinline__ void load_pair(const char* stage, int row, int part, float (&to)[2]) {
    load<2>(reinterpret_cast<const float*>(stage + chunk_at<kChunks>(row, part / 2) + part % 2 * 8), to);
  }

  __device__ __forceinline__ void load_part(int set, const char* left_stage, const char* right_stage, int part) {
    const int row = warp_row<tile>() + threadIdx.x % 32 / 8, column = warp_column<tile>() + threadIdx.x % 8;
#pragma unroll
    for (int i = 0; i < kDown; ++i) load_pair(left_stage, row + i * 4, part, left[set][i]);
#pragma unroll
    for (int j = 0; j < kAcross; ++j) load_pair(right_stage, column + j * 8, part, right[set][j]);
  }

  __device__ __forceinline__ void multiply_part(int set) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < kAcross; ++j) sums[i][j] = fmaf(left[set][i][k], right[set][j][k], sums[i][j]);
      }
    }
  }

  __device__ __forceinline__ void finish(const Product& p, const Cut& cut, const Position& at, float* staged) const {
    const int lane = threadIdx.x % 32;
    staged += threadIdx.x / 32 * 4 * tile.staged_pitch();
    float* to = staged + lane / 8 * tile.staged_pitch() + lane % 8;
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
      for (int j = 0; j < kAcross; ++j) to[j * 8] = sums[i][j];
      __syncwarp();
      finish_rows<float, 4, tile.staged_pitch()>(p, cut, at, warp_row<tile>() + i * 4, warp_column<tile>(),
                                                 tile.warp_columns, staged);
      __syncwarp();
    }
  }
};

// ---- kernels --------------------------------------------------------------------------------------------------------

template <class T, Source source, int index>
__global__ void __launch_bounds__(tiles<T>()[index].threads(), tiles<T>()[index].blocks)
    product_kernel(Product p, Cut cut) {
  if constexpr (!kHasCode<T>) {
    __trap();
  } else {
    SANA_DYNAMIC_SHARED(char, stages);
    constexpr Tile tile = tiles<T>()[index];
    constexpr int kLeftBytes = Share<T, tile.rows, tile>::kBytes;
    constexpr int kStageBytes = kLeftBytes + Share<T, tile.columns, tile>::kBytes;
    using M = Multiplier<T, tile>;
    static_assert(M::kParts % 2 == 0 && tile.stages >= 3);

    const Position at = position(p, cut, tile, blockIdx.x, blockIdx.y);
    const int first_step = at.split * cut.steps, inputs = p.inputs();
    const int steps = min(cut.steps, (inputs + tile.step - 1) / tile.step - first_step);
    const int first_k = first_step * tile.step;
    auto left = [&] {
      if constexpr (source == Source::kMatrix) {
        return Rows<T, tile.rows, tile>(static_cast<const T*>(p.image), p.pitch, at.row, p.rows(), first_k, inputs);
      } else {
        return Pixels<T, tile, source == Source::kImage>(p, at.phase, at.row, first_k);
      }
    }();
    Rows<T, tile.columns, tile> right(static_cast<const T*>(p.weights) + at.phase * p.sums * inputs, inputs, at.column,
                                      p.sums, first_k, inputs);
    const auto copy = [&](int step) {
      if (step < steps) {
        char* stage = stages + step % tile.stages * kStageBytes;
        left.copy(stage);
        right.copy(stage + kLeftBytes);
      }
      copy_commit();  // even if there was nothing to copy, because groups are counted
    };

    M multiplier;
    for (int step = 0; step < tile.stages - 1; ++step) copy(step);
    copy_wait<tile.stages - 2>();
    __syncthreads();
    multiplier.load_part(0, stages, stages + kLeftBytes, 0);
    for (int step = 0; step < steps; ++step) {
#pragma unroll
      for (int part = 0; part < M::kParts; ++part) {
        const bool last = part == M::kParts - 1;
        if (last) {  // the next step must have arrived, and all threads must have loaded from this one
          copy_wait<tile.stages - 2>();
          __syncthreads();
        }
        const char* stage = stages + (step + last) % tile.stages * kStageBytes;
        if (!last || step + 1 < steps) {
          multiplier.load_part((part + 1) % 2, stage, stage + kLeftBytes, (part + 1) % M::kParts);
        }
        if (part == 0) copy(step + tile.stages - 1);
        multiplier.multiply_part(part % 2);
      }
    }
    copy_wait<0>();
    __syncthreads();
    multiplier.finish(p, cut, at, reinterpret_cast<Sum<T>*>(stages));
  }
}

constexpr int kCombineThreads = 256;

// Adds up the sums of the splits and finishes them, one group of out per thread.
template <class T>
__global__ void __launch_bounds__(kCombineThreads) combine_kernel(Product p, Cut cut) {
  const Epilogue& e = p.epilogue;
  const int group_sums = e.gated ? 2 * kGroup : kGroup;
  const int64_t groups = cut.partial_columns / group_sums, all_rows = p.phases * p.rows();
  const int64_t split_sums = all_rows * cut.partial_columns;
  const int64_t stride = int64_t(gridDim.x) * kCombineThreads;
  for (int64_t i = int64_t(blockIdx.x) * kCombineThreads + threadIdx.x; i < all_rows * groups; i += stride) {
    const int64_t row = i / groups, group = i - row * groups;
    const Sum<T>* parts = static_cast<Sum<T>*>(cut.partial) + row * cut.partial_columns + group * group_sums;
    Sum<T> sums[kGroup] = {}, other_sums[kGroup] = {};
    for (int split = 0; split < cut.splits; ++split, parts += split_sums) {
      Sum<T> part[kGroup];
      load<kGroup>(parts, part);
#pragma unroll
      for (int j = 0; j < kGroup; ++j) sums[j] += part[j];
      if (e.gated) {
        load<kGroup>(parts + kGroup, part);
#pragma unroll
        for (int j = 0; j < kGroup; ++j) other_sums[j] += part[j];
      }
    }
    float values[kGroup], others[kGroup];
    scale_sums<T>(p, row, group * group_sums, sums, values);
    if (e.gated) scale_sums<T>(p, row, group * group_sums + kGroup, other_sums, others);
    const int phase = static_cast<int>(row / p.rows());
    finish_group<T>(e, out_row(p, phase, row - phase * p.rows()), group * kGroup, values, others);
  }
}

// ---- launchers ------------------------------------------------------------------------------------------------------

using ProductKernel = void (*)(Product, Cut);

template <class T, Source source, int... i>
ProductKernel kernel_of(int tile, std::integer_sequence<int, i...>) {
  constexpr ProductKernel kKernels[] = {product_kernel<T, source, i>...};
  return kKernels[tile];
}

template <class T>
void launch_product(const Product& p, const Cut& cut, Source source, int index, const Stream& stream) {
  constexpr auto kAll = std::make_integer_sequence<int, kTileCount<T>>();
  const Tile& tile = tiles<T>()[index];
  ProductKernel kernel = kernel_of<T, Source::kMatrix>(index, kAll);
  if constexpr (!kIsQuantized<T>) {  // quantised rows are always an aligned matrix
    if (source == Source::kImage) kernel = kernel_of<T, Source::kImage>(index, kAll);
    if (source == Source::kGeneral) kernel = product_kernel<T, Source::kGeneral, kGeneralTile<T>>;
  }
  launch(stream.handle, kernel, dim3(cut.row_tiles * cut.column_tiles, cut.splits), tile.threads(),
         shared_bytes(tile, sizeof(T)), p, cut);
}

template <class T>
void launch_combine(const Product& p, const Cut& cut, const Stream& stream) {
  const int64_t work = p.phases * p.rows() * divide_up(p.epilogue.columns, kGroup);
  const int64_t blocks = min(divide_up(work, kCombineThreads), int64_t(stream.multiprocessors) * 8);
  launch(stream.handle, combine_kernel<T>, static_cast<unsigned>(blocks), kCombineThreads, 0, p, cut);
}

}  // namespace sana::cuda
