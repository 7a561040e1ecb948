// Compares the instructions of cuda/machine/hopper.h with plain loops that follow the manual.

#include <cstring>

#include "cuda/machine/hopper.h"
#include "cuda/tensor_maps.h"
#include "test/simt/selftest/cases.h"

namespace simt::selftest {
namespace {

using sana::cuda::Barrier;
using sana::cuda::barrier_arrive;
using sana::cuda::barrier_arrive_expecting;
using sana::cuda::barrier_init;
using sana::cuda::barrier_init_done;
using sana::cuda::barrier_wait;
using sana::cuda::copy_pixels;
using sana::cuda::copy_tile;
using sana::cuda::kDescriptorStep;
using sana::cuda::kWarpgroup;
using sana::cuda::launch;
using sana::cuda::MappedTensor;
using sana::cuda::matrix_descriptor;
using sana::cuda::TensorMaps;
using sana::cuda::wgmma;
using sana::cuda::wgmma_commit;
using sana::cuda::wgmma_fence;
using sana::cuda::wgmma_wait;

constexpr int kRowElements = 64, kRowBytes = 128;

// ---- copies of tensors ----------------------------------------------------------------------------------------------

// The position of element `column` of a row under the manual's 128-byte swizzle, in elements from the copy's first.
__device__ int swizzled_at(int row, int column) {
  return row * kRowElements + (column / 8 ^ row % 8) * 8 + column % 8;
}

struct Box {
  bool pixels;
  int rows;
  int at[4], right, below;
};

// out [rows, 64] = the data of a copy.
__global__ void copy_kernel(const __grid_constant__ CUtensorMap map, uint16_t* out, Box box) {
  SANA_DYNAMIC_SHARED(char, memory);
  auto* const rows = reinterpret_cast<uint16_t*>(memory);
  auto* const full = reinterpret_cast<Barrier*>(memory + box.rows * kRowBytes);
  if (threadIdx.x == 0) {
    barrier_init(full, 1);
    barrier_init_done();
    barrier_arrive_expecting(full, box.rows * kRowBytes);
    if (box.pixels) {
      copy_pixels(rows, map, full, box.at[0], box.at[1], box.at[2], box.at[3], box.right, box.below);
    } else {
      copy_tile(rows, map, full, box.at[0], box.at[1], box.at[2], box.at[3]);
    }
  }
  __syncthreads();
  barrier_wait(full, 0);
  for (int i = threadIdx.x; i < box.rows * kRowElements; i += 32) {
    out[i] = rows[swizzled_at(i / kRowElements, i % kRowElements)];
  }
}

constexpr int kSizes[4] = {72, 5, 4, 2};  // fastest first; 72: a box's second half is mostly outside

std::vector<uint16_t> numbers(size_t count) {
  std::vector<uint16_t> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<uint16_t>(i + 1);
  return values;
}

// Element (i, j, k, l) of a tensor of kSizes with the values `numbers`; zero outside.
uint16_t number_at(int i, int j, int k, int l) {
  const int at[4] = {i, j, k, l};
  for (int d = 0; d < 4; ++d) {
    if (at[d] < 0 || at[d] >= kSizes[d]) return 0;
  }
  return static_cast<uint16_t>(((l * kSizes[2] + k) * kSizes[1] + j) * kSizes[0] + i + 1);
}

MappedTensor mapped(const void* data) {
  constexpr uint64_t kPixel = kSizes[0] * 2, kLine = kPixel * kSizes[1], kImage = kLine * kSizes[2];
  return {data, sana::DType::kF16, {kSizes[0], kSizes[1], kSizes[2], kSizes[3]}, {kPixel, kLine, kImage}};
}

std::vector<uint16_t> copied(const CUtensorMap& map, const Box& box, cudaStream_t stream) {
  const Memory<uint16_t> out(static_cast<size_t>(box.rows) * kRowElements);
  launch(stream, copy_kernel, 1, 32, static_cast<size_t>(box.rows * kRowBytes) + sizeof(Barrier), map, out.data(), box);
  return out.read(stream);
}

// Boxes over every edge, of rows along each dimension.
bool run_tiles(cudaStream_t stream) {
  const Memory<uint16_t> x(numbers(72 * 5 * 4 * 2), stream);
  const TensorMaps maps;
  for (int dimension = 1; dimension < 4; ++dimension) {
    const CUtensorMap map = maps.tiles(mapped(x.data()), dimension, 8);
    for (int first : {0, 64}) {
      const Box box = {false, 8, {first, dimension == 1 ? 2 : 4, dimension == 2 ? 1 : 3, dimension == 3 ? 0 : 1}, 0, 0};
      const std::vector<uint16_t> got = copied(map, box, stream);
      for (int row = 0; row < 8; ++row) {
        for (int i = 0; i < kRowElements; ++i) {
          int at[4] = {first + i, box.at[1], box.at[2], box.at[3]};
          at[dimension] += row;
          if (got[row * kRowElements + i] != number_at(at[0], at[1], at[2], at[3])) return false;
        }
      }
    }
  }
  return true;
}

// All pixels of a convolution's output, and more, for every tap.
bool run_pixels(int taps, int stride, cudaStream_t stream) {
  const Memory<uint16_t> x(numbers(72 * 5 * 4 * 2), stream);
  const TensorMaps maps;
  const int before = taps / 2;
  const int out_width = (kSizes[1] + 2 * before - taps) / stride + 1;
  const int out_height = (kSizes[2] + 2 * before - taps) / stride + 1;
  constexpr int kRows = 48;
  const CUtensorMap map = maps.pixels(mapped(x.data()), {before, before, stride, out_width, out_height}, kRows);
  for (int tap = 0; tap < taps * taps; ++tap) {
    const int start = 1;  // the second output pixel
    const int x0 = start % out_width * stride - before, y0 = start / out_width % out_height * stride - before;
    const Box box = {true, kRows, {64, x0, y0, start / out_width / out_height}, tap % taps, tap / taps};
    const std::vector<uint16_t> got = copied(map, box, stream);
    for (int row = 0; row < kRows; ++row) {
      const int pixel = start + row, line = pixel / out_width;
      const int at_x = pixel % out_width * stride - before + tap % taps;
      const int at_y = line % out_height * stride - before + tap / taps;
      for (int i = 0; i < kRowElements; ++i) {
        if (got[row * kRowElements + i] != number_at(64 + i, at_x, at_y, line / out_height)) return false;
      }
    }
  }
  return true;
}
bool run_pixels_3x3(cudaStream_t stream) {
  return run_pixels(3, 1, stream);
}
bool run_pixels_with_stride(cudaStream_t stream) {
  return run_pixels(3, 2, stream);
}
bool run_pixels_1x1_with_stride(cudaStream_t stream) {
  return run_pixels(1, 2, stream);
}

// ---- barriers -------------------------------------------------------------------------------------------------------

// Two threads alternate for five phases: out [10] is in order.
__global__ void turns_kernel(int* out) {
  __shared__ Barrier turns[2];
  __shared__ int count;
  const int i = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x == 0) {
    barrier_init(&turns[0], 1);
    barrier_init(&turns[1], 1);
    barrier_init_done();
    count = 0;
  }
  __syncthreads();
  if (threadIdx.x % 32 != 0) return;
  for (int turn = 0; turn < 5; ++turn) {
    barrier_wait(&turns[i], i == 0 ? turn % 2 ^ 1 : turn % 2);  // the first thread continues immediately
    out[turn * 2 + i] = atomicAdd(&count, 1);
    barrier_arrive(&turns[1 - i]);
  }
}
bool run_turns(cudaStream_t stream) {
  const Memory<int> out(10);
  launch(stream, turns_kernel, 1, 64, 0, out.data());
  const std::vector<int> got = out.read(stream);
  for (int i = 0; i < 10; ++i) {
    if (got[i] != i) return false;
  }
  return true;
}

// ---- products -------------------------------------------------------------------------------------------------------

// out [64, columns] = left [64, 64] right [columns, 64]^T, both in shared memory. Runs twice: the second product adds
// to the sums.
template <class T, int columns>
__global__ void wgmma_kernel(const T* left, const T* right, float* out) {
  SANA_DYNAMIC_SHARED(T, memory);
  for (int i = threadIdx.x; i < (64 + columns) * kRowElements; i += kWarpgroup) {
    memory[swizzled_at(i / kRowElements, i % kRowElements)] =
        i < 64 * kRowElements ? left[i] : right[i - 64 * kRowElements];
  }
  barrier_init_done();  // the fence that makes the threads' writes visible to products
  __syncthreads();
  float sums[columns / 8][4];
  wgmma_fence();
  for (int k = 0; k < 2 * kRowElements / 16; ++k) {
    const uint64_t step = k % 4 * kDescriptorStep;
    wgmma<T>(sums, matrix_descriptor(memory) + step, matrix_descriptor(memory + 64 * kRowElements) + step, k > 0);
  }
  wgmma_commit();
  wgmma_wait<0>();
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  for (int j = 0; j < columns / 8; ++j) {
    for (int i = 0; i < 4; ++i) out[(row + i / 2 * 8) * columns + j * 8 + column + i % 2] = sums[j][i];
  }
}
// Small multiples of 1/4, so that every sum is exact.
template <class T, int columns>
bool run_wgmma(cudaStream_t stream) {
  std::vector<T> left, right;
  for (int i = 0; i < 64 * kRowElements; ++i) left.push_back(T(static_cast<float>(i * 7 % 31 - 15) / 4));
  for (int i = 0; i < columns * kRowElements; ++i) right.push_back(T(static_cast<float>(i * 5 % 23 - 11)));
  const Memory<T> device_left(left, stream), device_right(right, stream);
  const Memory<float> out(64 * columns);
  launch(stream, wgmma_kernel<T, columns>, 1, kWarpgroup, (64 + columns) * kRowBytes, device_left.data(),
         device_right.data(), out.data());
  const std::vector<float> got = out.read(stream);
  for (int m = 0; m < 64; ++m) {
    for (int n = 0; n < columns; ++n) {
      float sum = 0;
      for (int k = 0; k < kRowElements; ++k) {
        sum += static_cast<float>(left[m * kRowElements + k]) * static_cast<float>(right[n * kRowElements + k]);
      }
      if (got[m * columns + n] != 2 * sum) return false;
    }
  }
  return true;
}

}  // namespace

const std::vector<Instruction> kHopperInstructions = {
    {"copies of tiles", run_tiles},
    {"copies of pixels", run_pixels_3x3},
    {"copies of every second pixel", run_pixels_with_stride},
    {"copies of every second pixel for one tap", run_pixels_1x1_with_stride},
    {"barriers of two threads in turn", run_turns},
    {"wgmma of bf16, 64 columns", run_wgmma<__nv_bfloat16, 64>},
    {"wgmma of f16, 144 columns", run_wgmma<__half, 144>},
    {"wgmma of bf16, 256 columns", run_wgmma<__nv_bfloat16, 256>},
};

}  // namespace simt::selftest
