// Per head:  S = sum_n [v_n, 1] relu(k_n)^T     [D + 1, D] f32, row D the sum of relu(k)
//            out_n = (S relu(q_n))[:D] / ((S relu(q_n))[D] + epsilon)
//
// qkv [B, N, 3C], out [B, N, C], D up to 256. Two passes over memory: K and V are read once for S, Q once to apply it.
// The row of ones computes the denominator, so there is no second reduction.
//
//   state  a block sums a chunk of one head's tokens: states [heads, chunks, D + 1, D] in the workspace. There are
//          enough chunks to fill the device. If the states of all heads do not fit, heads take several turns.
//   apply  a block adds its head's chunks in order and applies the sum to a run of tokens.
// Blocks of neighbouring heads are consecutive and read the same rows of memory together.
//
// bf16 and f16 with heads of 32 channels, as in every model, use tensor cores without shared memory: the order of a
// sum's terms is free, so the tokens and channels of a lane are those that it can load in one piece. Products of 16-bit
// elements are exact; in the second product, S is split into as many 16-bit parts as f32 needs. The general kernels,
// for f32 and other head dims, use plain f32 arithmetic on tiles of 32 x 32 of S.
//
// Bound by memory: 4 elements of C per token, in runs of D.

#include <type_traits>

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"
#include "cuda/kernels/pair.cuh"

namespace sana::cuda {
namespace {

// ---- tiles ---------------------------------------------------------------------------------------------------------

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kSide = 32;          // side of a tile of S, and the head dim of the tensor-core kernels
constexpr int kTokens = 64;        // tokens of a tile of the general kernels
constexpr int kPitch = kSide + 4;  // puts rows of four f32 in different banks
constexpr int kBlocks = 4;         // resident blocks per multiprocessor: as many as the registers allow
constexpr int kMostChunks = 16;    // the second pass reads all of them many times
constexpr int kChunkTokens = 256;  // at least, because a state is as large as 32 tokens of f32 keys and values
constexpr int kStateFloats = (kSide + 1) * kSide;
// Of the tensor-core kernels:
constexpr int kStep = 16;                            // tokens per product
constexpr int kSteps = 2;                            // products whose loads a warp has in flight together
constexpr int kIteration = kWarps * kStep * kSteps;  // tokens per iteration of a block; its share is a multiple of this

// ---- heads in memory -----------------------------------------------------------------------------------------------

// Heads are numbered through the batch.
struct Heads {
  int64_t tokens;  // N
  int64_t first;   // first head of this turn
  int heads, depth;
  bool interleaved;

  __host__ __device__ __forceinline__ int64_t row_elements() const { return int64_t(3) * heads * depth; }
  // The offset of q (part 0), k (1) or v (2) of a head's first token in qkv [B, N, 3C].
  __device__ __forceinline__ int64_t in(int64_t head, int part) const {
    const int64_t h = head % heads;
    const int64_t channel = interleaved ? (3 * h + part) * depth : (int64_t(part) * heads + h) * depth;
    return head / heads * tokens * row_elements() + channel;
  }
  // The offset in out [B, N, C].
  __device__ __forceinline__ int64_t out(int64_t head) const {
    return (head / heads * tokens * heads + head % heads) * depth;
  }
};

// ---- device helpers ------------------------------------------------------------------------------------------------

__device__ __forceinline__ float relu(float x) {
  return x > 0.0f || x != x ? x : 0.0f;
}

// [low's low half, high's low half] and [low's high half, high's high half]
__device__ __forceinline__ uint32_t low_halves(uint32_t low, uint32_t high) {
  return (low & 0xffffu) | high << 16;
}
__device__ __forceinline__ uint32_t high_halves(uint32_t low, uint32_t high) {
  return low >> 16 | (high & 0xffff0000u);
}

// ---- tensor-core kernels: D = 32, bf16 and f16 ---------------------------------------------------------------------

// In the sum over tokens, lane l loads tokens 4 (l % 4) .. + 3 of a step of 16 and channels 4 (l / 4) .. + 3 of each:
// eight bytes, so that eight lanes read a whole row of a head. The rows and columns of S are in the corresponding
// order: accumulator [m][n] of lane l holds rows 4 (l / 4) + 2 m and + 1, columns 8 (l % 4) + n and + 4.
template <class T>
__global__ void __launch_bounds__(kThreads) state_kernel(const T* qkv,   // [B, N, 3C]
                                                         float* states,  // [heads of this turn, chunks, 33, 32]
                                                         Heads shape, int chunks, int64_t chunk_tokens) {
  __shared__ float sums[kWarps][kStateFloats];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, part = lane % 4;
  const int turn_heads = gridDim.x / chunks, turn_head = blockIdx.x % turn_heads, chunk = blockIdx.x / turn_heads;
  const int64_t head = shape.first + turn_head;
  const int64_t first = chunk * chunk_tokens, end = min(first + chunk_tokens, shape.tokens);
  const int64_t pitch = shape.row_elements();
  const T* const keys = qkv + shape.in(head, 1) + group * 4;
  const T* const values = qkv + shape.in(head, 2) + group * 4;
  float one[2] = {1.0f, 1.0f};
  const uint32_t ones = take_pair<T>(one[0], one[1]);
  const uint32_t all_ones[4] = {ones, ones, ones, ones};

  float state[2][4][4] = {}, key_sums[4][4] = {};
  for (int64_t token = first + warp * (kStep * kSteps); token < end; token += kIteration) {
    uint2 k[kSteps][4], v[kSteps][4];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t n = token + step * kStep + part * 4 + i;
        const bool valid = n < end;
        k[step][i] = valid ? *reinterpret_cast<const uint2*>(keys + n * pitch) : make_uint2(0, 0);
        v[step][i] = valid ? *reinterpret_cast<const uint2*>(values + n * pitch) : make_uint2(0, 0);
      }
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const uint2(&rows)[4] = k[step], (&columns)[4] = v[step];
      // b0 and b1 of the column tile of channel 4 group + n: tokens 0 and 1, and 2 and 3, of the lane's four.
      uint32_t b[4][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint2 low = rows[2 * i], high = rows[2 * i + 1];
        b[0][i] = relu_pair<T>(low_halves(low.x, high.x));
        b[1][i] = relu_pair<T>(high_halves(low.x, high.x));
        b[2][i] = relu_pair<T>(low_halves(low.y, high.y));
        b[3][i] = relu_pair<T>(high_halves(low.y, high.y));
      }
      // Rows 4 group + 2 m and + 1 are rows group and group + 8 of the fragment.
      uint32_t a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint2 low = columns[2 * i], high = columns[2 * i + 1];
        a[0][2 * i] = low_halves(low.x, high.x);
        a[0][2 * i + 1] = high_halves(low.x, high.x);
        a[1][2 * i] = low_halves(low.y, high.y);
        a[1][2 * i + 1] = high_halves(low.y, high.y);
      }
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        mma<T>(state[0][n], a[0], b[n][0], b[n][1]);
        mma<T>(state[1][n], a[1], b[n][0], b[n][1]);
        mma<T>(key_sums[n], all_ones, b[n][0], b[n][1]);
      }
    }
  }

#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int d = (part * 2 + i % 2) * 4 + n;
#pragma unroll
      for (int m = 0; m < 2; ++m) sums[warp][(group * 4 + m * 2 + i / 2) * kSide + d] = state[m][n][i];
      if (group == 0 && i < 2) sums[warp][kSide * kSide + d] = key_sums[n][i];
    }
  }
  __syncthreads();
  float* const to = states + (int64_t(turn_head) * chunks + chunk) * kStateFloats;
  for (int i = threadIdx.x; i < kStateFloats; i += kThreads) {
    float sum = sums[0][i];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += sums[w][i];
    to[i] = sum;
  }
}

// Splits S into parts of type T whose sum has the 24 bits of f32: three parts of bf16's 8 bits, or two of f16's 11 (22
// bits: the remainder is 2^-23 of an element). A power of two scales S to the range of f16.
template <class T>
constexpr int kParts = std::is_same_v<T, bf16> ? 3 : 2;

// A step takes 16 tokens. Lane l loads channels 8 (l % 4) .. + 7 of tokens l / 4 and + 8, sixteen bytes each, and uses
// them as channels (l % 4) 2, + 1, + 8, + 9 of two steps of 16 in the second product's fragments. It writes the same
// channels.
template <class T>
__global__ void __launch_bounds__(kThreads)
    apply_kernel(const T* qkv,         // [B, N, 3C]
                 const float* states,  // [heads of this turn, chunks, 33, 32]
                 T* out,               // [B, N, C]
                 Heads shape, int chunks, int runs, int64_t run_tokens, float epsilon) {
  __shared__ __align__(16) float state[kSide + 1][kPitch];
  __shared__ float largest_of[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, part = lane % 4;
  const int turn_heads = gridDim.x / runs;
  const int64_t turn_head = blockIdx.x % turn_heads, head = shape.first + turn_head;
  const int64_t first = blockIdx.x / turn_heads * run_tokens, end = min(first + run_tokens, shape.tokens);

  float largest = 0.0f;
  for (int i = threadIdx.x * 4; i < kStateFloats; i += kThreads * 4) {
    const float* const from = states + turn_head * chunks * kStateFloats + i;
    float sums[4];
    load<4>(from, sums);
#pragma unroll 8
    for (int chunk = 1; chunk < chunks; ++chunk) {
      float more[4];
      load<4>(from + chunk * kStateFloats, more);
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[j] += more[j];
    }
    store<4>(&state[i / kSide][i % kSide], sums);
#pragma unroll
    for (int j = 0; j < 4; ++j) largest = fmaxf(largest, fabsf(sums[j]));
  }
  float unscale = 1.0f;
  if constexpr (std::is_same_v<T, f16>) {
#pragma unroll
    for (int lanes = 1; lanes < 32; lanes *= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, lanes));
    if (lane == 0) largest_of[warp] = largest;
  }
  __syncthreads();
  if constexpr (std::is_same_v<T, f16>) {
#pragma unroll
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, largest_of[w]);
    if (largest > 0.0f && largest <= 3e38f) unscale = ldexpf(1.0f, ilogbf(largest) - 14);
  }

  // b of column tile n < 4: its column g is row 8 (g / 2) + 2 n + g % 2 of S, so that a lane's accumulators are eight
  // successive channels. Every column of tile 4 is the row of key sums, so that every lane gets its tokens'
  // denominators.
  uint32_t b[kParts<T>][2][5][2];
#pragma unroll
  for (int n = 0; n < 5; ++n) {
    const float* const row = state[n < 4 ? group / 2 * 8 + n * 2 + group % 2 : kSide];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int d = part * 8 + k * 4 + i * 2;
        float low = row[d], high = row[d + 1];
        if constexpr (std::is_same_v<T, f16>) low /= unscale, high /= unscale;
#pragma unroll
        for (int p = 0; p < kParts<T>; ++p) b[p][k][n][i] = take_pair<T>(low, high);
      }
    }
  }

  const int64_t pitch = shape.row_elements(), channels = pitch / 3;
  const T* const queries = qkv + shape.in(head, 0) + part * 8;
  T* const to = out + shape.out(head) + part * 8;
  for (int64_t token = first + warp * (kStep * kSteps); token < end; token += kIteration) {
    uint4 q[kSteps][2];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t n = token + step * kStep + half * 8 + group;
        q[step][half] = n < end ? *reinterpret_cast<const uint4*>(queries + n * pitch) : make_uint4(0, 0, 0, 0);
      }
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const uint4 low = q[step][0], high = q[step][1];
      const uint32_t a[2][4] = {{relu_pair<T>(low.x), relu_pair<T>(high.x), relu_pair<T>(low.y), relu_pair<T>(high.y)},
                                {relu_pair<T>(low.z), relu_pair<T>(high.z), relu_pair<T>(low.w), relu_pair<T>(high.w)}};
      float sums[5][4] = {};
#pragma unroll
      for (int p = kParts<T> - 1; p >= 0; --p) {  // the smallest part first
#pragma unroll
        for (int k = 0; k < 2; ++k) {
#pragma unroll
          for (int n = 0; n < 5; ++n) mma<T>(sums[n], a[k], b[p][k][n][0], b[p][k][n][1]);
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t n = token + step * kStep + half * 8 + group;
        if (n >= end) continue;
        const float factor = unscale / (sums[4][half * 2] * unscale + epsilon);
        float x[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) x[i] = sums[i / 2][half * 2 + i % 2] * factor;
        store<8>(to + n * channels, x);
      }
    }
  }
}

// ---- general kernels: any type, any head dim -----------------------------------------------------------------------

// Loads `count` rows of `columns` elements as f32 [kTokens, kPitch], with or without relu, and zeros beyond.
template <bool through_relu, class T>
__device__ __forceinline__ void load_tile(float (*tile)[kPitch], const T* from, int64_t pitch, int64_t count,
                                          int columns) {
#pragma unroll 8
  for (int i = threadIdx.x; i < kTokens * kSide; i += kThreads) {
    const int n = i / kSide, d = i % kSide;
    const float x = n < count && d < columns ? to_float(from[n * pitch + d]) : 0.0f;
    tile[n][d] = through_relu ? relu(x) : x;
  }
}

// Sums a 32 x 32 tile of a head's S over a chunk of tokens. A warp takes every fourth token, a lane 4 rows and 8
// columns.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    general_state_kernel(const T* qkv,   // [B, N, 3C]
                         float* states,  // [heads of this turn, chunks, D + 1, D]
                         Heads shape, int chunks, int64_t chunk_tokens, int sides) {
  __shared__ __align__(16) float keys[kTokens][kPitch];
  __shared__ __align__(16) float values[kTokens][kPitch];
  __shared__ float sums[kWarps][kStateFloats];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, depth = shape.depth;
  const int first_row = lane / 4 * 4, first_column = lane % 4 * 4;  // and first_column + 16
  const int side_row = blockIdx.x % sides * kSide, side_column = blockIdx.x / sides % sides * kSide;
  const int turn_heads = gridDim.x / (sides * sides) / chunks, index = blockIdx.x / (sides * sides);
  const int turn_head = index % turn_heads, chunk = index / turn_heads;
  const int64_t head = shape.first + turn_head;
  const int64_t first = chunk * chunk_tokens, end = min(first + chunk_tokens, shape.tokens);
  const int64_t pitch = shape.row_elements();

  float state[4][8] = {}, key_sum = 0.0f;  // key_sum: of column `lane`
  for (int64_t token = first; token < end; token += kTokens) {
    const int count = static_cast<int>(min(int64_t(kTokens), end - token));
    __syncthreads();
    load_tile<true>(keys, qkv + shape.in(head, 1) + token * pitch + side_column, pitch, end - token,
                    depth - side_column);
    load_tile<false>(values, qkv + shape.in(head, 2) + token * pitch + side_row, pitch, end - token, depth - side_row);
    __syncthreads();
#pragma unroll 4
    for (int n = warp; n < count; n += kWarps) {
      float v[4], low[4], high[4];
      load<4>(&values[n][first_row], v);
      load<4>(&keys[n][first_column], low);
      load<4>(&keys[n][first_column + 16], high);
      key_sum += keys[n][lane];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
#pragma unroll
        for (int d = 0; d < 4; ++d) {
          state[e][d] = fmaf(v[e], low[d], state[e][d]);
          state[e][4 + d] = fmaf(v[e], high[d], state[e][4 + d]);
        }
      }
    }
  }

#pragma unroll
  for (int e = 0; e < 4; ++e) {
#pragma unroll
    for (int d = 0; d < 8; ++d) {
      sums[warp][(first_row + e) * kSide + first_column + d / 4 * 16 + d % 4] = state[e][d];
    }
  }
  sums[warp][kSide * kSide + lane] = key_sum;
  __syncthreads();
  float* const to = states + (int64_t(turn_head) * chunks + chunk) * (depth + 1) * depth;
  for (int i = threadIdx.x; i < kStateFloats; i += kThreads) {
    const int row = i / kSide, column = side_column + i % kSide;
    float sum = sums[0][i];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += sums[w][i];
    if (column >= depth) continue;
    if (row < kSide && side_row + row < depth) to[(side_row + row) * depth + column] = sum;
    if (row == kSide && side_row == 0) to[depth * depth + column] = sum;
  }
}

// Computes 32 output channels of a run of a head's tokens. A thread takes 4 tokens and 4 channels.
template <class T, class Out>
__global__ void __launch_bounds__(kThreads)
    general_apply_kernel(const T* qkv,         // [B, N, 3C]
                         const float* states,  // [heads of this turn, chunks, D + 1, D]
                         Out* out,             // [B, N, C]
                         Heads shape, int chunks, int runs, int64_t run_tokens, int sides, float epsilon) {
  const int depth = shape.depth, padded = sides * kSide;
  SANA_DYNAMIC_SHARED(float, state);                // [padded, kPitch]: 32 rows of S transposed, zeros beyond D
  float* const key_sums = state + padded * kPitch;  // [padded]
  __shared__ __align__(16) float queries[kTokens][kPitch];
  const int side_row = blockIdx.x % sides * kSide;
  const int turn_heads = gridDim.x / sides / runs, index = blockIdx.x / sides;
  const int64_t turn_head = index % turn_heads, head = shape.first + turn_head;
  const int64_t first = index / turn_heads * run_tokens, end = min(first + run_tokens, shape.tokens);

  const int64_t state_floats = int64_t(depth + 1) * depth;
  const float* const from = states + turn_head * chunks * state_floats;
  for (int i = threadIdx.x; i < (kSide + 1) * padded; i += kThreads) {
    const int row = i / padded, d = i % padded, e = row < kSide ? side_row + row : depth;
    float sum = 0.0f;
    if (d < depth && (row == kSide || e < depth)) {
      for (int chunk = 0; chunk < chunks; ++chunk) sum += from[chunk * state_floats + e * depth + d];
    }
    if (row < kSide) {
      state[d * kPitch + row] = sum;
    } else {
      key_sums[d] = sum;
    }
  }

  const int64_t pitch = shape.row_elements(), channels = pitch / 3;
  const int channel = threadIdx.x % 8 * 4, own = threadIdx.x / 8;  // tokens own, + 16, + 32, + 48
  for (int64_t token = first; token < end; token += kTokens) {
    float sums[4][4] = {}, denominators[4] = {};
    for (int part = 0; part < padded; part += kSide) {
      __syncthreads();
      load_tile<true>(queries, qkv + shape.in(head, 0) + token * pitch + part, pitch, end - token, depth - part);
      __syncthreads();
#pragma unroll 2
      for (int d = 0; d < kSide; d += 4) {
        float q[4][4], key_sum[4];
#pragma unroll
        for (int n = 0; n < 4; ++n) load<4>(&queries[own + n * 16][d], q[n]);
        load<4>(key_sums + part + d, key_sum);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float s[4];
          load<4>(state + (part + d + i) * kPitch + channel, s);
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            denominators[n] = fmaf(q[n][i], key_sum[i], denominators[n]);
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[n][e] = fmaf(q[n][i], s[e], sums[n][e]);
          }
        }
      }
    }
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int64_t at = token + own + n * 16;
      if (at >= end) continue;
      Out* const to = out + shape.out(head) + at * channels + side_row + channel;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (side_row + channel + e < depth) to[e] = from_float<Out>(sums[n][e] / (denominators[n] + epsilon));
      }
    }
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void linear_attention(const Call& call, const Stream& stream) {
  const View& qkv = call.operands[op::LinearAttention::kQkv];
  const View& out = call.operands[op::LinearAttention::kOut];
  const int64_t depth = call.integer(op::LinearAttention::kHeadDim);
  const float epsilon = call.number(op::LinearAttention::kEpsilon);
  const int64_t tokens = qkv.shape[1], heads = out.columns() / depth, all_heads = qkv.shape[0] * heads;
  const int64_t sides = divide_up(depth, kSide), blocks = int64_t(stream.multiprocessors) * kBlocks;
  const bool interleaved = call.choice<HeadOrder>(op::LinearAttention::kOrder) == HeadOrder::kInterleaved;
  Heads shape = {tokens, 0, static_cast<int>(heads), static_cast<int>(depth), interleaved};

  const bool by_tensor_cores =
      depth == kSide && qkv.dtype == out.dtype && qkv.dtype != DType::kF32 && vector_rows(8, {&qkv, &out});
  const int64_t parts = divide_up(tokens, kChunkTokens);  // the maximum number of chunks and of runs
  const auto parts_wanted = [&](int64_t others) { return max(int64_t(1), min(parts, blocks / others)); };  // one wave
  const int64_t wanted_chunks = min(parts_wanted(all_heads * sides * sides), int64_t(kMostChunks));
  const int64_t chunk_tokens = divide_up(divide_up(tokens, wanted_chunks), kIteration) * kIteration;
  const int64_t chunks = divide_up(tokens, chunk_tokens);
  const int64_t run_tokens = divide_up(divide_up(tokens, parts_wanted(all_heads * sides)), kIteration) * kIteration;
  const int64_t runs = divide_up(tokens, run_tokens);

  float* const states = reinterpret_cast<float*>(stream.workspace);
  const int64_t state_bytes = chunks * (depth + 1) * depth * sizeof(float);
  const int64_t turn = static_cast<int64_t>(stream.workspace_bytes) / state_bytes;  // heads whose states fit
  const size_t shared_bytes = sides * kSide * (kPitch + 1) * sizeof(float);
  for (; shape.first < all_heads; shape.first += turn) {
    const int64_t now = min(turn, all_heads - shape.first);
    with_types(qkv.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
      using T = typename decltype(x_tag)::Type;
      using Out = typename decltype(out_tag)::Type;
      if constexpr (std::is_same_v<T, Out> && !std::is_same_v<T, float>) {
        if (by_tensor_cores) {
          launch(stream.handle, state_kernel<T>, static_cast<unsigned>(now * chunks), kThreads, 0, qkv.as<T>(), states,
                 shape, chunks, chunk_tokens);
          launch(stream.handle, apply_kernel<T>, static_cast<unsigned>(now * runs), kThreads, 0, qkv.as<T>(), states,
                 out.as<T>(), shape, chunks, runs, run_tokens, epsilon);
          return;
        }
      }
      launch(stream.handle, general_state_kernel<T>, static_cast<unsigned>(now * chunks * sides * sides), kThreads, 0,
             qkv.as<T>(), states, shape, chunks, chunk_tokens, sides);
      launch(stream.handle, general_apply_kernel<T, Out>, static_cast<unsigned>(now * runs * sides), kThreads,
             shared_bytes, qkv.as<T>(), states, out.as<Out>(), shape, chunks, runs, run_tokens, sides, epsilon);
    });
  }
}

}  // namespace sana::cuda
