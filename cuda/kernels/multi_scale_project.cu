// The second scale of DC-AE's attention: d = depthwise5x5(x), out[g, e] = sum_c pointwise[g D + e, c] d[g, c] in every
// group g of D consecutive channels
//
// x and out [B, H, W, C] (columns of wider tensors), depthwise [25, C] f32 (tap by tap), pointwise [C, D] f32, D up to
// 256. Zero padding 2. d is never written to memory, nor rounded.
//
// For D = 32 a block takes 16 by 16 pixels of two groups. Each thread first computes d of two channels in squares of 4
// by 4 pixels, with the 25 taps and the 16 sums in registers, and stores it in shared memory; then it computes 8 by 8
// outputs of the product. Bound by the 25 + D multiply-adds per element, in f32 without tensor cores because d is not
// rounded: about half the speed of memory. For any other D, or rows that are not aligned to eight elements, there is a
// general path, one element per thread.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kTaps = 5;  // per side
constexpr int kReach = kTaps / 2;

// D = 32
constexpr int kGroup = 32;
constexpr int kGroups = 2;     // per block: a warp reads them as two channels per thread
constexpr int kSide = 16;      // side of a block's square of pixels
constexpr int kSquare = 4;     // side of a thread's square: 64 pixels are read for 16
constexpr int kThreads = 256;  // eight warps, two rows of squares at a time
constexpr int kBlockChannels = kGroup * kGroups;
constexpr int kPixels = kSide * kSide;
constexpr int kPixelFloats = kBlockChannels + 4;  // of d: eight neighbouring pixels are in different banks
constexpr int kTile = 8;                          // side of a thread's tile of the product
constexpr size_t kSharedBytes = (kPixels * kPixelFloats + kBlockChannels * kGroup) * sizeof(float);

// any D
constexpr int kGeneralSide = 8;
constexpr int kGeneralPixels = kGeneralSide * kGeneralSide;

// The position of a block. Channels vary fastest, so that blocks that run together are neighbours in memory.
struct Place {
  int slice;  // index of the slice of channels
  int row, column;
  int64_t item;

  __device__ Place(int slices, int height, int width, int side) {
    const unsigned row_tiles = (height + side - 1) / side, column_tiles = (width + side - 1) / side;
    const unsigned tile = blockIdx.x / slices;
    slice = static_cast<int>(blockIdx.x % slices);
    column = static_cast<int>(tile % column_tiles) * side;
    row = static_cast<int>(tile / column_tiles % row_tiles) * side;
    item = tile / column_tiles / row_tiles;
  }
};

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X, class Out>
__global__ void __launch_bounds__(kThreads, sizeof(X) == 2 ? 2 : 1)
    multi_scale_project_kernel(const X* __restrict__ x,              // [B, height, width, C], pixels x_pitch apart
                               const float* __restrict__ depthwise,  // [25, C]
                               const float* __restrict__ pointwise,  // [C, 32]
                               Out* __restrict__ out,                // [B, height, width, C], pixels out_pitch apart
                               int height, int width, int channels, int64_t x_pitch, int64_t out_pitch) {
  SANA_DYNAMIC_SHARED(float, d);                       // [kPixels, kPixelFloats]
  float* const matrices = d + kPixels * kPixelFloats;  // [kGroups, D in, D out]
  const Place place((channels + kBlockChannels - 1) / kBlockChannels, height, width, kSide);
  const int first_channel = place.slice * kBlockChannels;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;

  for (int i = thread; i < kBlockChannels * kGroup; i += kThreads) {
    const int to = i % kGroup, from = i / kGroup % kGroup, group = i / (kGroup * kGroup);
    const int row = first_channel + group * kGroup + to;
    matrices[i] = row < channels ? pointwise[row * kGroup + from] : 0.0f;
  }

  const int channel = first_channel + 2 * lane;
  if (channel < channels) {
    float taps[kTaps * kTaps][2];
#pragma unroll
    for (int t = 0; t < kTaps * kTaps; ++t) load<2>(depthwise + t * channels + channel, taps[t]);
    constexpr int kSquares = kSide / kSquare;
    for (int square = warp; square < kSquares * kSquares; square += kThreads / 32) {
      const int row = square / kSquares * kSquare, column = square % kSquares * kSquare;
      float sums[kSquare][kSquare][2] = {};
#pragma unroll
      for (int r = 0; r < kSquare + kTaps - 1; ++r) {
        const int y = place.row + row + r - kReach;
        const bool row_inside = y >= 0 && y < height;
        const int first_column = place.column + column - kReach;
        const X* from = x + ((place.item * height + y) * width + first_column) * x_pitch + channel;
        float inputs[kSquare + kTaps - 1][2];
#pragma unroll
        for (int c = 0; c < kSquare + kTaps - 1; ++c) {
          const int z = first_column + c;
          const Packed<X, 2> input(from, row_inside && z >= 0 && z < width);
          from += x_pitch;
#pragma unroll
          for (int n = 0; n < 2; ++n) inputs[c][n] = input[n];
        }
#pragma unroll
        for (int i = 0; i < kSquare; ++i) {
          const int dy = r - i;
          if (dy < 0 || dy >= kTaps) continue;
#pragma unroll
          for (int dx = 0; dx < kTaps; ++dx) {
#pragma unroll
            for (int j = 0; j < kSquare; ++j) {
#pragma unroll
              for (int n = 0; n < 2; ++n) sums[i][j][n] += inputs[j + dx][n] * taps[dy * kTaps + dx][n];
            }
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kSquare; ++i) {
#pragma unroll
        for (int j = 0; j < kSquare; ++j) {
          store<2>(d + ((row + i) * kSide + column + j) * kPixelFloats + 2 * lane, sums[i][j]);
        }
      }
    }
  }
  __syncthreads();

  // A warp takes 64 pixels of a group; a thread eight of them, eight apart, by eight neighbouring channels.
  constexpr int kThreadColumns = kGroup / kTile;    // threads side by side along the channels
  constexpr int kThreadRows = 32 / kThreadColumns;  // and along the pixels
  constexpr int kWarpsOfGroup = kPixels / (kThreadRows * kTile);
  const int group = warp / kWarpsOfGroup, first_to = lane % kThreadColumns * kTile;
  const int first_pixel = warp % kWarpsOfGroup * kThreadRows * kTile + lane / kThreadColumns;
  if (first_channel + group * kGroup >= channels) return;
  float sums[kTile][kTile] = {};
  for (int from = 0; from < kGroup; from += 4) {
    float left[kTile][4];
#pragma unroll
    for (int i = 0; i < kTile; ++i) {
      load<4>(d + (first_pixel + i * kThreadRows) * kPixelFloats + group * kGroup + from, left[i]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      float right[kTile];
      load<kTile>(matrices + (group * kGroup + from + k) * kGroup + first_to, right);
#pragma unroll
      for (int i = 0; i < kTile; ++i) {
#pragma unroll
        for (int j = 0; j < kTile; ++j) sums[i][j] += left[i][k] * right[j];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
    const int pixel = first_pixel + i * kThreadRows;
    const int y = place.row + pixel / kSide, z = place.column + pixel % kSide;
    if (y >= height || z >= width) continue;
    const int64_t at = ((place.item * height + y) * width + z) * out_pitch;
    store<kTile>(out + at + first_channel + group * kGroup + first_to, sums[i]);
  }
}

// One group of 8 by 8 pixels per block.
template <class X, class Out>
__global__ void __launch_bounds__(kThreads)
    general_kernel(const X* __restrict__ x,              // [B, height, width, C], pixels x_pitch apart
                   const float* __restrict__ depthwise,  // [25, C]
                   const float* __restrict__ pointwise,  // [C, D]
                   Out* __restrict__ out,                // [B, height, width, C], pixels out_pitch apart
                   int height, int width, int channels, int group, int64_t x_pitch, int64_t out_pitch) {
  SANA_DYNAMIC_SHARED(float, d);  // [pixels, D + 1]: neighbouring pixels are in different banks
  const Place place(channels / group, height, width, kGeneralSide);
  const int first_channel = place.slice * group;

  for (int i = static_cast<int>(threadIdx.x); i < kGeneralPixels * group; i += kThreads) {
    const int pixel = i / group, c = i % group;
    const int row = place.row + pixel / kGeneralSide - kReach, column = place.column + pixel % kGeneralSide - kReach;
    float sum = 0.0f;
    for (int dy = 0; dy < kTaps; ++dy) {
      for (int dx = 0; dx < kTaps; ++dx) {
        const int y = row + dy, z = column + dx;
        if (y < 0 || y >= height || z < 0 || z >= width) continue;
        const int64_t at = ((place.item * height + y) * width + z) * x_pitch + first_channel + c;
        sum += to_float(x[at]) * depthwise[(dy * kTaps + dx) * channels + first_channel + c];
      }
    }
    d[pixel * (group + 1) + c] = sum;
  }
  __syncthreads();

  for (int i = static_cast<int>(threadIdx.x); i < kGeneralPixels * group; i += kThreads) {
    const int pixel = i % kGeneralPixels, to = first_channel + i / kGeneralPixels;
    const int y = place.row + pixel / kGeneralSide, z = place.column + pixel % kGeneralSide;
    if (y >= height || z >= width) continue;
    float sum = 0.0f;
    for (int c = 0; c < group; ++c) sum += pointwise[to * group + c] * d[pixel * (group + 1) + c];
    out[((place.item * height + y) * width + z) * out_pitch + to] = from_float<Out>(sum);
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void multi_scale_project(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::MultiScaleProject::kX];                  // [B, H, W, C]
  const View& depthwise = call.operands[op::MultiScaleProject::kDepthwise];  // [25, C]
  const View& pointwise = call.operands[op::MultiScaleProject::kPointwise];  // [C, D]
  const View& out = call.operands[op::MultiScaleProject::kOut];              // [B, H, W, C]
  const int64_t batch = x.shape[0], height = x.shape[1], width = x.shape[2], channels = x.columns();
  const int64_t group = pointwise.columns();
  const auto squares = [&](int64_t side) { return batch * divide_up(height, side) * divide_up(width, side); };
  const bool fast =
      group == kGroup && vector_rows(8, {&x, &out}) && reinterpret_cast<uintptr_t>(depthwise.data) % 8 == 0;
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    if (fast) {
      launch(stream.handle, multi_scale_project_kernel<X, Out>,
             grid_size(squares(kSide) * divide_up(channels, kBlockChannels)), kThreads, kSharedBytes, x.as<X>(),
             depthwise.as<float>(), pointwise.as<float>(), out.as<Out>(), height, width, channels, x.pitch, out.pitch);
    } else {
      launch(stream.handle, general_kernel<X, Out>, grid_size(squares(kGeneralSide) * (channels / group)), kThreads,
             kGeneralPixels * (group + 1) * sizeof(float), x.as<X>(), depthwise.as<float>(), pointwise.as<float>(),
             out.as<Out>(), height, width, channels, group, x.pitch, out.pitch);
    }
  });
}

}  // namespace sana::cuda
