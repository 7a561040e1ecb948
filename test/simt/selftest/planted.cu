// Kernels with one bug each, which `bug` enables, and a table of the checks that find it.

#include "test/simt/selftest/cases.h"

namespace simt::selftest {
namespace {

using sana::cuda::copy_async;
using sana::cuda::copy_commit;
using sana::cuda::copy_wait;
using sana::cuda::launch;

constexpr int kThreads = 128;

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 1009 + 1);
  return values;
}

bool all_equal(const std::vector<float>& values, float expected) {
  for (const float value : values) {
    if (!(value == expected)) return false;
  }
  return true;
}

// ---- barriers -------------------------------------------------------------------------------------------------------

// out = the sum of x [128].
__global__ void reduction(const float* x, float* out, bool bug) {
  __shared__ float parts[kThreads / 32];
  float sum = x[threadIdx.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  if (!bug) __syncthreads();
  if (threadIdx.x == 0) out[0] = parts[0] + parts[1] + parts[2] + parts[3];
}
bool run_reduction(bool bug, cudaStream_t stream) {
  const Memory<float> x(ramp(kThreads), stream), out(1);
  launch(stream, reduction, 1, kThreads, 0, x.data(), out.data(), bug);
  return all_equal(out.read(stream), kThreads * (kThreads + 1) / 2);
}

// out[i] = the sum over tiles t of x[t][127 - i], one tile loaded while another is used.
constexpr int kTiles = 6;
__global__ void double_buffer(const float* x, float* out, bool bug) {
  __shared__ float tiles[2][kThreads];
  const unsigned i = threadIdx.x;
  float sum = 0.0f;
  tiles[0][i] = x[i];
  for (int t = 0; t < kTiles; ++t) {
    if (!bug || t == 0) __syncthreads();
    if (t + 1 < kTiles) tiles[(t + 1) % 2][i] = x[(t + 1) * kThreads + i];
    __syncthreads();
    sum += tiles[t % 2][kThreads - 1 - i];
    if (bug && t == kTiles - 1) __syncthreads();
  }
  out[i] = sum;
}
bool run_double_buffer(bool bug, cudaStream_t stream) {
  const std::vector<float> values = ramp(kTiles * kThreads);
  const Memory<float> x(values, stream), out(kThreads);
  launch(stream, double_buffer, 1, kThreads, 0, x.data(), out.data(), bug);
  const std::vector<float> result = out.read(stream);
  for (int i = 0; i < kThreads; ++i) {
    float sum = 0.0f;
    for (int t = 0; t < kTiles; ++t) sum += values[t * kThreads + kThreads - 1 - i];
    if (result[i] != sum) return false;
  }
  return true;
}

// out [32, 32] = x^T through a tile.
__global__ void transpose_tile(const float* x, float* out, bool bug) {
  __shared__ float tile[32][33];
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
  if (!bug) __syncthreads();
  out[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}
bool run_transpose_tile(bool bug, cudaStream_t stream) {
  const std::vector<float> values = ramp(32 * 32);
  const Memory<float> x(values, stream), out(32 * 32);
  launch(stream, transpose_tile, 1, dim3(32, 32), 0, x.data(), out.data(), bug);
  const std::vector<float> result = out.read(stream);
  for (int i = 0; i < 32 * 32; ++i) {
    if (result[i] != values[i % 32 * 32 + i / 32]) return false;
  }
  return true;
}

// out [32] = x backwards, within one warp.
__global__ void reverse_warp(const float* x, float* out, bool bug) {
  __shared__ float row[32];
  row[threadIdx.x] = x[threadIdx.x];
  if (!bug) __syncwarp();
  out[threadIdx.x] = row[31 - threadIdx.x];
}
bool run_reverse_warp(bool bug, cudaStream_t stream) {
  const std::vector<float> values = ramp(32);
  const Memory<float> x(values, stream), out(32);
  launch(stream, reverse_warp, 1, 32, 0, x.data(), out.data(), bug);
  return out.read(stream) == std::vector<float>(values.rbegin(), values.rend());
}

__global__ void two_barriers(float* out, bool bug) {
  if (bug && threadIdx.x < 64) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1.0f;
}
bool run_two_barriers(bool bug, cudaStream_t stream) {
  const Memory<float> out(kThreads);
  launch(stream, two_barriers, 1, kThreads, 0, out.data(), bug);
  return all_equal(out.read(stream), 1.0f);
}

__global__ void half_a_warp_waits(float* out, bool bug) {
  float value = 1.0f;
  if (!bug || threadIdx.x % 32 < 16) value = __shfl_xor_sync(~0u, value, 1);
  __syncthreads();
  out[threadIdx.x] = value;
}
bool run_half_a_warp_waits(bool bug, cudaStream_t stream) {
  const Memory<float> out(kThreads);
  launch(stream, half_a_warp_waits, 1, kThreads, 0, out.data(), bug);
  return all_equal(out.read(stream), 1.0f);
}

__global__ void shuffle_from_outside(float* out, bool bug) {
  float value = 1.0f;
  if (threadIdx.x < 16) value = __shfl_xor_sync(0xffffu, value, bug ? 16 : 8);
  out[threadIdx.x] = value;
}
bool run_shuffle_from_outside(bool bug, cudaStream_t stream) {
  const Memory<float> out(32);
  launch(stream, shuffle_from_outside, 1, 32, 0, out.data(), bug);
  return all_equal(out.read(stream), 1.0f);
}

// ---- bounds ---------------------------------------------------------------------------------------------------------

__global__ void copy_row(const float* x, float* out, int reads, int writes) {
  float last = 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < reads; i += kThreads) last = x[i];
  for (int i = static_cast<int>(threadIdx.x); i < writes; i += kThreads) out[i] = i < reads ? x[i] : last;
}
bool run_copy_row(int reads, int writes, cudaStream_t stream) {
  const std::vector<float> values = ramp(300);
  const Memory<float> x(values, stream), out(300);
  launch(stream, copy_row, 1, kThreads, 0, x.data(), out.data(), reads, writes);
  return out.read(stream) == values;
}
bool run_read_overrun(bool bug, cudaStream_t stream) {
  return run_copy_row(bug ? 301 : 300, 300, stream);
}
bool run_write_overrun(bool bug, cudaStream_t stream) {
  return run_copy_row(300, bug ? 301 : 300, stream);
}

__global__ void copy_bytes(const float* x, float* out, size_t bytes) {
  memcpy(out, x, bytes);
}
bool run_copy_bytes(bool bug, cudaStream_t stream) {
  const std::vector<float> values = ramp(300);
  const Memory<float> x(values, stream), out(300);
  launch(stream, copy_bytes, 1, 1, 0, x.data(), out.data(), sizeof(float) * 300 + (bug ? 1 : 0));
  return out.read(stream) == values;
}

__global__ void static_overrun(float* out, int rows) {
  __shared__ float tile[32][33];
  if (threadIdx.x < 32) {
    for (int row = 0; row < 32; ++row) tile[row][threadIdx.x] = 1.0f;
    float sum = 0.0f;
    for (int row = 0; row < rows; ++row) sum += tile[row][threadIdx.x];
    out[threadIdx.x] = sum;
  }
}
bool run_static_overrun(bool bug, cudaStream_t stream) {
  const Memory<float> out(32);
  launch(stream, static_overrun, 1, 32, 0, out.data(), bug ? 33 : 32);
  return all_equal(out.read(stream), 32.0f);
}

__global__ void dynamic_shared(float* out) {
  SANA_DYNAMIC_SHARED(float, row);
  row[threadIdx.x] = 1.0f;
  out[threadIdx.x] = row[threadIdx.x];
}
bool run_dynamic_overrun(bool bug, cudaStream_t stream) {
  const Memory<float> out(kThreads);
  launch(stream, dynamic_shared, 1, kThreads, kThreads * sizeof(float) - (bug ? 2 : 0), out.data());
  return all_equal(out.read(stream), 1.0f);
}

__global__ void copy_vectors(const float* x, float* out, int shift) {
  reinterpret_cast<float4*>(out)[threadIdx.x] = reinterpret_cast<const float4*>(x + shift)[threadIdx.x];
}
bool run_misaligned(bool bug, cudaStream_t stream) {
  const std::vector<float> values(4 * 32 + 4, 1.0f);
  const Memory<float> x(values, stream), out(4 * 32);
  launch(stream, copy_vectors, 1, 32, 0, x.data(), out.data(), bug ? 1 : 4);
  return all_equal(out.read(stream), 1.0f);
}

// Two vectors at a time: the compiler passes only the length to the checked build.
struct alignas(16) Pair {
  float elements[8];
};
__global__ void copy_pairs(const float* x, float* out, int shift) {
  reinterpret_cast<Pair*>(out)[threadIdx.x] = reinterpret_cast<const Pair*>(x + shift)[threadIdx.x];
}
bool run_misaligned_pairs(bool bug, cudaStream_t stream) {
  const std::vector<float> values(8 * 32 + 4, 1.0f);
  const Memory<float> x(values, stream), out(8 * 32);
  launch(stream, copy_pairs, 1, 32, 0, x.data(), out.data(), bug ? 1 : 4);
  return all_equal(out.read(stream), 1.0f);
}

__global__ void read_host(const float* x, float* out) {
  out[threadIdx.x] = x[threadIdx.x];
}
bool run_read_host(bool bug, cudaStream_t stream) {
  const std::vector<float> values(32, 1.0f);
  const Memory<float> x(values, stream), out(32);
  launch(stream, read_host, 1, 32, 0, bug ? values.data() : x.data(), out.data());
  return all_equal(out.read(stream), 1.0f);
}

bool run_wild_pointer(bool bug, cudaStream_t stream) {
  const Memory<float> x(std::vector<float>(32, 1.0f), stream), out(32);
  launch(stream, read_host, 1, 32, 0, bug ? reinterpret_cast<const float*>(4096) : x.data(), out.data());
  return all_equal(out.read(stream), 1.0f);
}

bool run_too_many_threads(bool bug, cudaStream_t stream) {
  const Memory<float> out(2048);
  launch(stream, dynamic_shared, 1, bug ? 2048 : 1024, 2048 * sizeof(float), out.data());
  SANA_CUDA(cudaStreamSynchronize(stream));
  return true;
}

// ---- blocks of one launch -------------------------------------------------------------------------------------------

__global__ void write_by_block(float* out, bool bug) {
  out[(bug ? 0 : blockIdx.x * kThreads) + threadIdx.x] = 1.0f;
}
bool run_write_by_block(bool bug, cudaStream_t stream) {
  const Memory<float> out(2 * kThreads);
  launch(stream, write_by_block, 2, kThreads, 0, out.data(), false);  // so that all of out has been written
  launch(stream, write_by_block, 2, kThreads, 0, out.data(), bug);
  return all_equal(out.read(stream), 1.0f);
}

// Every block writes its part; the last block to arrive adds them up.
constexpr int kBlocks = 5;
__global__ void last_block_sums(float* parts, int* counter, float* out, bool bug) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
    if (!bug) __threadfence();
    last = atomicAdd(counter, 1) == kBlocks - 1;
  }
  __syncthreads();
  if (!last || threadIdx.x != 0) return;
  __threadfence();
  float sum = 0.0f;
  for (int i = 0; i < kBlocks; ++i) sum += parts[i];
  out[0] = sum;
  *counter = 0;
}
bool run_last_block_sums(bool bug, cudaStream_t stream) {
  const Memory<float> parts(kBlocks), out(1);
  const Memory<int> counter(std::vector<int>{0}, stream);
  launch(stream, last_block_sums, kBlocks, 32, 0, parts.data(), counter.data(), out.data(), bug);
  return all_equal(out.read(stream), kBlocks * (kBlocks + 1) / 2);
}

// In place: two blocks overwrite each other's input.
__global__ void reverse_in_place(float* x, bool bug) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  x[i] = x[bug ? 2 * kThreads - 1 - i : i];
}
bool run_reverse_in_place(bool bug, cudaStream_t stream) {
  const std::vector<float> values(2 * kThreads, 1.0f);
  const Memory<float> x(values, stream);
  launch(stream, reverse_in_place, 2, kThreads, 0, x.data(), bug);
  return x.read(stream) == values;
}

// ---- asynchronous copies --------------------------------------------------------------------------------------------

enum class Wait { kRight, kTooFew, kNone, kNoBarrier };

// out [128] = x backwards, copied in two groups of 16-byte pieces.
__global__ void copy_and_reverse(const float* x, float* out, Wait wait) {
  __shared__ __align__(16) float row[kThreads];
  const unsigned i = threadIdx.x;
  if (i < 16) copy_async(row + 4 * i, x + 4 * i, true);
  copy_commit();
  if (i < 16) copy_async(row + 64 + 4 * i, x + 64 + 4 * i, true);
  copy_commit();
  if (wait == Wait::kTooFew) {
    copy_wait<1>();
  } else if (wait != Wait::kNone) {
    copy_wait<0>();
  }
  if (wait != Wait::kNoBarrier) __syncthreads();
  out[i] = row[kThreads - 1 - i];
}
bool run_copy_and_reverse(Wait wait, cudaStream_t stream) {
  const std::vector<float> values = ramp(kThreads);
  const Memory<float> x(values, stream), out(kThreads);
  launch(stream, copy_and_reverse, 1, kThreads, 0, x.data(), out.data(), wait);
  return out.read(stream) == std::vector<float>(values.rbegin(), values.rend());
}
bool run_wait_too_few(bool bug, cudaStream_t stream) {
  return run_copy_and_reverse(bug ? Wait::kTooFew : Wait::kRight, stream);
}
bool run_no_wait(bool bug, cudaStream_t stream) {
  return run_copy_and_reverse(bug ? Wait::kNone : Wait::kRight, stream);
}
bool run_no_barrier_after_wait(bool bug, cudaStream_t stream) {
  return run_copy_and_reverse(bug ? Wait::kNoBarrier : Wait::kRight, stream);
}

// ---- contents -------------------------------------------------------------------------------------------------------

__global__ void read_unwritten_shared(float* out, bool bug) {
  __shared__ float row[kThreads];
  if (!bug || threadIdx.x > 0 || blockIdx.x == 0) row[threadIdx.x] = 1.0f;
  __syncthreads();
  out[blockIdx.x * kThreads + threadIdx.x] = row[kThreads - 1 - threadIdx.x];
}
bool run_read_unwritten_shared(bool bug, cudaStream_t stream) {
  const Memory<float> out(2 * kThreads);
  launch(stream, read_unwritten_shared, 2, kThreads, 0, out.data(), bug);
  return all_equal(out.read(stream), 1.0f);
}

bool run_read_unwritten_global(bool bug, cudaStream_t stream) {
  const Memory<float> x(33), out(32);
  SANA_CUDA(cudaMemsetAsync(x.data(), 0, (bug ? 31 : 32) * sizeof(float), stream));
  launch(stream, read_host, 1, 32, 0, x.data(), out.data());
  return all_equal(out.read(stream), 0.0f);
}

// ---- speed ----------------------------------------------------------------------------------------------------------

constexpr int kRounds = 64;
__global__ void many_accesses(const float* x, float* out) {
  __shared__ float row[kThreads];
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  for (int round = 0; round < kRounds; ++round) {
    row[threadIdx.x] = x[i];
    __syncthreads();
    out[i] = row[kThreads - 1 - threadIdx.x];
    __syncthreads();
  }
}

}  // namespace

void run_many_accesses(size_t accesses, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(accesses / (4 * kRounds * kThreads) + 1);
  const Memory<float> x(ramp(blocks * kThreads), stream), out(blocks * kThreads);
  launch(stream, many_accesses, blocks, kThreads, 0, x.data(), out.data());
  SANA_CUDA(cudaStreamSynchronize(stream));
}

const std::vector<Planted> kPlanted = {
    // name, run, wrong result in some order of threads, finding of the checked build, ended by the sanitizers
    {"no barrier in a reduction", run_reduction, true, "no __syncthreads between", false},
    {"no barrier at the end of a double-buffered loop", run_double_buffer, true, "a write over memory that another",
     false},
    {"no barrier after a tile is loaded", run_transpose_tile, true, "no __syncthreads between", false},
    {"no barrier in a warp", run_reverse_warp, true, "no __syncwarp between", false},
    {"a barrier in two branches", run_two_barriers, true, "divergent barrier", false},
    {"half a warp in a shuffle of the whole", run_half_a_warp_waits, true, "deadlock", false},
    {"a shuffle from a lane outside its mask", run_shuffle_from_outside, true, "a shuffle from a lane", false},
    {"a read beyond device memory", run_read_overrun, false, "a read outside the device's memory", true},
    {"a write beyond device memory", run_write_overrun, false, "a write outside the device's memory", true},
    {"a memcpy beyond device memory", run_copy_bytes, false, "outside the device's memory", true},
    {"a read beyond a static shared array", run_static_overrun, false, "shared memory that was not written", true},
    {"more dynamic shared memory than requested", run_dynamic_overrun, false, "beyond the dynamic shared", false},
    {"a vector at a misaligned address", run_misaligned, true, "misaligned address", true},
    {"a pair of vectors at a misaligned address", run_misaligned_pairs, false, "misaligned address", true},
    {"a wild pointer", run_wild_pointer, true, "a read outside the device's memory", true},
    {"a pointer to host memory", run_read_host, false, "a read outside the device's memory", false},
    {"too many threads in a block", run_too_many_threads, true, "invalid configuration", false},
    {"two blocks write one address", run_write_by_block, false, "a write over another thread's write", false},
    {"no fence before the last block sums", run_last_block_sums, false, "a read of another thread's write", false},
    {"a block overwrites the input of another", run_reverse_in_place, false, "in one launch", false},
    {"a wait for too few copies", run_wait_too_few, true, "while a copy is in flight", false},
    {"no wait for copies", run_no_wait, true, "while a copy is in flight", false},
    {"no barrier after the wait for copies", run_no_barrier_after_wait, true, ", no __sync", false},
    {"shared memory of an earlier block", run_read_unwritten_shared, false, "shared memory that was not written",
     false},
    {"device memory that was never written", run_read_unwritten_global, true, "memory that was never written", false},
};

}  // namespace simt::selftest
