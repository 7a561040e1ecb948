// Softmax attention of a tile of queries over any number of keys, a tile of keys at a time. Shared by the attention
// operators.
//
//   s = score(q k^T)  [queries, keys],  out = softmax(s) v
//
// Scores never leave the block: each tile of keys updates running maxima, sums and outputs. If the maximum increases,
// the sums and outputs are scaled down first. Scores are base-2 exponents (log2(e) is part of their scale), so that a
// weight is one exp2.
//
// bf16 and f16 use tensor cores: a warp has whole rows of queries, and its weights go directly from the accumulators of
// the first product to the registers of the second. There they are split into two parts, the rounded weight and the
// rounding error, so that the output is as exact as with f32 weights. This takes three products instead of two, which
// does not matter for short texts, because they are bound by memory. f32 uses plain f32 arithmetic.
// Key and value tiles have one buffer each: values are loaded during the first product, the next keys during the
// second.

#pragma once

#include <type_traits>

#include "cuda/element.h"
#include "cuda/kernels/pair.cuh"

namespace sana::cuda {

// ---- tiles ---------------------------------------------------------------------------------------------------------

inline constexpr int kAttentionThreads = 128;

// Tiles by the number of channels of a head, padded to D. Rows of shared memory have 16 bytes of padding, so that eight
// successive rows, or the rows of eight threads, are in different banks.
template <class T, int D>
struct AttentionTile {
  static constexpr int kRowTiles = D <= 128 ? 2 : 1;  // row tiles of 16 queries per warp
  static constexpr int kWarpQueries = 16 * kRowTiles;
  static constexpr int kQueries = kAttentionThreads / 32 * kWarpQueries;
  static constexpr int kKeys = D <= 80 ? 64 : 32;  // as many as fit in the registers beside out
  static constexpr int kPitch = D + 8;
  static constexpr size_t kSharedBytes = sizeof(T) * kPitch * (kQueries + 2 * kKeys);
};

// f32: eight threads share the same rows; each has every eighth key and four of every 32 channels.
template <int D>
struct AttentionTile<float, D> {
  static constexpr int kRowsOfThread = D <= 128 ? 4 : 2;
  static constexpr int kKeysOfThread = D <= 128 ? 4 : 2;
  static constexpr int kQueries = kAttentionThreads / 8 * kRowsOfThread;
  static constexpr int kKeys = 8 * kKeysOfThread;
  static constexpr int kPitch = D + 4;
  static constexpr int kWeightPitch = kKeys + 4;
  static constexpr size_t kSharedBytes = sizeof(float) * (kPitch * (kQueries + 2 * kKeys) + kWeightPitch * kQueries);
};

// Calls body(std::integral_constant<int, D>) for the smallest D that is at least `depth`, the channels of a head.
template <class T, class Body>
void with_padded_depth(int64_t depth, Body&& body) {
  if constexpr (std::is_same_v<T, float>) {
    if (depth <= 32) return body(std::integral_constant<int, 32>());
    if (depth <= 96) return body(std::integral_constant<int, 96>());
  } else {
    if (depth <= 32) return body(std::integral_constant<int, 32>());
    if (depth <= 80) return body(std::integral_constant<int, 80>());
    if (depth <= 112) return body(std::integral_constant<int, 112>());
  }
  static_assert(kMostHeadDim == 256);
  if (depth <= 128) return body(std::integral_constant<int, 128>());
  if (depth <= 256) return body(std::integral_constant<int, 256>());
  throw Error("ERR_SANA_PROGRAM", "no attention kernel for heads of %lld channels", static_cast<long long>(depth));
}

// ---- a block's work ------------------------------------------------------------------------------------------------

// Rows of keys or values by position: first those of the prefix, then those of the sequence.
template <class T>
struct KeyRows {
  const T* prefix;  // [prefix_length, D], rows prefix_pitch apart
  const T* own;     // [.., D], rows own_pitch apart
  int64_t prefix_pitch, own_pitch;
  int prefix_length;

  __device__ __forceinline__ const T* operator()(int position) const {
    return position < prefix_length ? prefix + position * prefix_pitch : own + (position - prefix_length) * own_pitch;
  }
};

// The operands that may be copied in pieces of 16 bytes.
struct WideRows {
  bool queries, keys, out;
};

// The output may have another type than the operands. No model needs that, so the type is tested at each store.
struct AttentionOutput {
  void* data;
  DType dtype;

  template <class T>
  __device__ __forceinline__ T* as() const {
    return static_cast<T*>(data);
  }
  __device__ __forceinline__ void store_one(int64_t i, float x) const {
    if (dtype == DType::kF32) {
      as<float>()[i] = x;
    } else if (dtype == DType::kBF16) {
      as<bf16>()[i] = from_float<bf16>(x);
    } else {
      as<f16>()[i] = from_float<f16>(x);
    }
  }
};

template <class T>
struct AttentionTask {
  const T* queries;  // [rows, depth], rows query_pitch apart
  int64_t query_pitch;
  KeyRows<T> keys, values;
  AttentionOutput out;  // [rows, depth] from element first_out, rows out_pitch apart
  int64_t first_out, out_pitch;
  int rows, depth;
  int first_key, end_key;  // positions
  WideRows wide;
};

inline constexpr float kLog2e = 1.4426950408889634f;

// ---- device helpers ------------------------------------------------------------------------------------------------

// Copies `rows` rows of `depth` channels to shared memory, zeros up to kRows and D. row(i) is the address of row i.
template <int kRows, int D, int kPitch, class T, class Row>
__device__ __forceinline__ void copy_rows(T* shared, const Row& row, int rows, int depth, bool wide) {
  constexpr int kPiece = 16 / sizeof(T), kPieces = D / kPiece;
  for (int i = threadIdx.x; i < kRows * kPieces; i += kAttentionThreads) {
    const int r = i / kPieces, d = i % kPieces * kPiece;
    T* const to = shared + r * kPitch + d;
    if (wide) {
      const bool valid = r < rows && d < depth;
      copy_async(to, valid ? row(r) + d : nullptr, valid);
    } else {
#pragma unroll
      for (int j = 0; j < kPiece; ++j) to[j] = r < rows && d + j < depth ? row(r)[d + j] : from_float<T>(0.0f);
    }
  }
}

// ---- bf16 and f16 --------------------------------------------------------------------------------------------------

// Attention of the block's queries over its keys. score(product) returns a base-2 score, score.visible(query, key)
// whether a query of the tile sees the key at a position, score.all_visible(first, end) whether all queries see all of
// these keys.
template <class T, int D, class Score>
__device__ __forceinline__ void attend_by_tensor_cores(const AttentionTask<T>& task, const Score& score) {
  using Tile = AttentionTile<T, D>;
  constexpr int kRowTiles = Tile::kRowTiles, kKeys = Tile::kKeys, kPitch = Tile::kPitch;
  constexpr float kHidden = -INFINITY;
  // Weights are scaled to at most 2^kHeadroom; otherwise f16 would lose small ones.
  constexpr float kHeadroom = std::is_same_v<T, f16> ? 15.0f : 0.0f;
  SANA_DYNAMIC_SHARED(T, queries);                    // [kQueries, kPitch]
  T* const keys = queries + Tile::kQueries * kPitch;  // [kKeys, kPitch]
  T* const values = keys + kKeys * kPitch;            // [kKeys, kPitch]
  const int lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * Tile::kWarpQueries;
  T* const warp_queries = queries + warp_row * kPitch;

  const auto copy_tile = [&](T* to, const KeyRows<T>& rows, int first) {
    copy_rows<kKeys, D, kPitch>(
        to, [&](int r) { return rows(first + r); }, task.end_key - first, task.depth, task.wide.keys);
    copy_commit();
  };
  copy_rows<Tile::kQueries, D, kPitch>(
      queries, [&](int r) { return task.queries + r * task.query_pitch; }, task.rows, task.depth, task.wide.queries);
  copy_tile(keys, task.keys, task.first_key);

  // For rows lane / 4 and + 8 of each row tile; each lane sums its own keys only.
  float out[kRowTiles][D / 8][4] = {}, most[kRowTiles][2], total[kRowTiles][2] = {};
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) most[m][0] = most[m][1] = kHidden;

  for (int first = task.first_key; first < task.end_key; first += kKeys) {
    copy_wait<0>();
    __syncthreads();  // the keys are there, and everyone is done with the values
    copy_tile(values, task.values, first);

    float s[kRowTiles][kKeys / 8][4] = {};
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      uint32_t a[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        load_matrices(a[m], warp_queries + (m * 16 + lane % 16) * kPitch + d + lane / 16 * 8);
      }
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t b[4];
        load_matrices(b, keys + (n * 8 + lane / 16 * 8 + lane % 8) * kPitch + d + lane / 8 % 2 * 8);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma<T>(s[m][n], a[m], b[0], b[1]);
          mma<T>(s[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }

    const bool masked = first + kKeys > task.end_key || !score.all_visible(first, first + kKeys);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int query = warp_row + m * 16 + half * 8 + lane / 4;
        float largest = most[m][half];
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& x = s[m][n][half * 2 + i];
            x = score(x);
            if (masked) {
              const int key = first + n * 8 + lane % 4 * 2 + i;
              if (key >= task.end_key || !score.visible(query, key)) x = kHidden;
            }
            largest = fmaxf(largest, x);
          }
        }
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
        const float base = largest == kHidden ? 0.0f : largest;  // the row may not have seen any key yet
        const float correction = exp2f(most[m][half] - base);
        most[m][half] = largest;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& x = s[m][n][half * 2 + i];
            x = exp2f(x - base + kHeadroom);
            sum += x;
          }
        }
        total[m][half] = total[m][half] * correction + sum;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          out[m][n][half * 2] *= correction;
          out[m][n][half * 2 + 1] *= correction;
        }
      }
    }

    copy_wait<0>();
    __syncthreads();  // the values have arrived, and all threads are done with the keys
    if (first + kKeys < task.end_key) copy_tile(keys, task.keys, first + kKeys);

#pragma unroll
    for (int k = 0; k < kKeys; k += 16) {
      if (first + k >= task.end_key) break;
      uint32_t weights[kRowTiles][4], rest[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // the accumulators have the same layout as the halves of a
          float* const pair = s[m][k / 8 + i / 2] + i % 2 * 2;
          weights[m][i] = take_pair<T>(pair[0], pair[1]);
          rest[m][i] = take_pair<T>(pair[0], pair[1]);
        }
      }
#pragma unroll
      for (int n = 0; n < D / 8; n += 2) {
        uint32_t b[4];
        load_matrices_transposed(b, values + (k + lane % 16) * kPitch + n * 8 + lane / 16 * 8);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma<T>(out[m][n], weights[m], b[0], b[1]);
          mma<T>(out[m][n + 1], weights[m], b[2], b[3]);
          mma<T>(out[m][n], rest[m], b[0], b[1]);
          mma<T>(out[m][n + 1], rest[m], b[2], b[3]);
        }
      }
    }
  }

#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = total[m][half];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const float factor = 1.0f / sum;
      const int r = m * 16 + half * 8 + lane / 4;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        const float x[2] = {out[m][n][half * 2] * factor, out[m][n][half * 2 + 1] * factor};
        const int d = n * 8 + lane % 4 * 2;
        if (task.wide.out) {
          store<2>(warp_queries + r * kPitch + d, x);  // overwrites the warp's queries, which are no longer needed
        } else if (warp_row + r < task.rows) {
          const int64_t at = task.first_out + (warp_row + r) * task.out_pitch + d;
          if (d < task.depth) task.out.store_one(at, x[0]);
          if (d + 1 < task.depth) task.out.store_one(at + 1, x[1]);
        }
      }
    }
  }
  if (!task.wide.out) return;
  __syncwarp();
  T* const to = task.out.template as<T>() + task.first_out;
  for (int i = lane; i < Tile::kWarpQueries * (D / 8); i += 32) {  // whole rows, for coalesced stores
    const int r = i / (D / 8), d = i % (D / 8) * 8;
    if (warp_row + r >= task.rows || d >= task.depth) continue;
    *reinterpret_cast<uint4*>(to + (warp_row + r) * task.out_pitch + d) =
        *reinterpret_cast<const uint4*>(warp_queries + r * kPitch + d);
  }
}

// ---- f32 -----------------------------------------------------------------------------------------------------------

// The same for f32, in plain f32 arithmetic.
template <int D, class Score>
__device__ __forceinline__ void attend_exactly(const AttentionTask<float>& task, const Score& score) {
  using Tile = AttentionTile<float, D>;
  constexpr int kRows = Tile::kRowsOfThread, kOwnKeys = Tile::kKeysOfThread, kKeys = Tile::kKeys;
  constexpr int kPitch = Tile::kPitch, kWeightPitch = Tile::kWeightPitch, kGroups = kAttentionThreads / 8;
  constexpr float kHidden = -INFINITY;
  SANA_DYNAMIC_SHARED(float, queries);                    // [kQueries, kPitch]
  float* const keys = queries + Tile::kQueries * kPitch;  // [kKeys, kPitch]
  float* const values = keys + kKeys * kPitch;            // [kKeys, kPitch]
  float* const weights = values + kKeys * kPitch;         // [kQueries, kWeightPitch]
  // The thread's rows are group + r kGroups, its keys part + 8 t, its channels 4 part + 32 j .. + 3.
  const int group = threadIdx.x / 8, part = threadIdx.x % 8;

  const auto copy_tile = [&](float* to, const KeyRows<float>& rows, int first) {
    copy_rows<kKeys, D, kPitch>(
        to, [&](int r) { return rows(first + r); }, task.end_key - first, task.depth, task.wide.keys);
    copy_commit();
  };
  copy_rows<Tile::kQueries, D, kPitch>(
      queries, [&](int r) { return task.queries + r * task.query_pitch; }, task.rows, task.depth, task.wide.queries);
  copy_tile(keys, task.keys, task.first_key);

  float out[kRows][D / 32][4] = {}, most[kRows], total[kRows] = {};
#pragma unroll
  for (int r = 0; r < kRows; ++r) most[r] = kHidden;

  for (int first = task.first_key; first < task.end_key; first += kKeys) {
    copy_wait<0>();
    __syncthreads();  // the keys are there, and everyone is done with the values
    copy_tile(values, task.values, first);

    float s[kRows][kOwnKeys] = {};
#pragma unroll 2
    for (int d = 0; d < D; d += 4) {
      float q[kRows][4];
#pragma unroll
      for (int r = 0; r < kRows; ++r) load<4>(queries + (group + r * kGroups) * kPitch + d, q[r]);
#pragma unroll
      for (int t = 0; t < kOwnKeys; ++t) {
        float k[4];
        load<4>(keys + (part + t * 8) * kPitch + d, k);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
#pragma unroll
          for (int i = 0; i < 4; ++i) s[r][t] = fmaf(q[r][i], k[i], s[r][t]);
        }
      }
    }

#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float largest = most[r];
#pragma unroll
      for (int t = 0; t < kOwnKeys; ++t) {
        const int query = group + r * kGroups, key = first + part + t * 8;
        s[r][t] = key < task.end_key && score.visible(query, key) ? score(s[r][t]) : kHidden;
        largest = fmaxf(largest, s[r][t]);
      }
#pragma unroll
      for (int lanes = 1; lanes < 8; lanes *= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, lanes));
      const float base = largest == kHidden ? 0.0f : largest;  // the row may not have seen any key yet
      const float correction = exp2f(most[r] - base);
      most[r] = largest;
      float sum = 0.0f;
#pragma unroll
      for (int t = 0; t < kOwnKeys; ++t) {
        const float weight = exp2f(s[r][t] - base);
        weights[(group + r * kGroups) * kWeightPitch + part + t * 8] = weight;
        sum += weight;
      }
      total[r] = total[r] * correction + sum;
#pragma unroll
      for (int j = 0; j < D / 32; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) out[r][j][i] *= correction;
      }
    }

    copy_wait<0>();
    __syncthreads();  // the values and the weights have arrived, and all threads are done with the keys
    if (first + kKeys < task.end_key) copy_tile(keys, task.keys, first + kKeys);

#pragma unroll 1
    for (int t = 0; t < kKeys; t += 4) {
      float weight[kRows][4];
#pragma unroll
      for (int r = 0; r < kRows; ++r) load<4>(weights + (group + r * kGroups) * kWeightPitch + t, weight[r]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < D / 32; ++j) {
          float v[4];
          load<4>(values + (t + i) * kPitch + part * 4 + j * 32, v);
#pragma unroll
          for (int r = 0; r < kRows; ++r) {
#pragma unroll
            for (int c = 0; c < 4; ++c) out[r][j][c] = fmaf(weight[r][i], v[c], out[r][j][c]);
          }
        }
      }
    }
  }

#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    float sum = total[r];
#pragma unroll
    for (int lanes = 1; lanes < 8; lanes *= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
    const int row = group + r * kGroups;
    if (row >= task.rows) continue;
#pragma unroll
    for (int j = 0; j < D / 32; ++j) {
      const int d = part * 4 + j * 32;
      const int64_t at = task.first_out + row * task.out_pitch + d;
      const float x[4] = {out[r][j][0] / sum, out[r][j][1] / sum, out[r][j][2] / sum, out[r][j][3] / sum};
      if (task.wide.out) {
        if (d < task.depth) store<4>(task.out.template as<float>() + at, x);
      } else {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (d + c < task.depth) task.out.store_one(at + c, x[c]);
        }
      }
    }
  }
}

template <class T, int D, class Score>
__device__ __forceinline__ void attend(const AttentionTask<T>& task, const Score& score) {
  if constexpr (std::is_same_v<T, float>) {
    attend_exactly<D>(task, score);
  } else {
    attend_by_tensor_cores<T, D>(task, score);
  }
}

// ---- for launchers -------------------------------------------------------------------------------------------------

// Which of the operands can be copied in pieces of 16 bytes, head by head.
inline WideRows wide_rows(int64_t depth, const View& queries, std::initializer_list<const View*> keys,
                          const View& out) {
  const int64_t piece = queries.dtype == DType::kF32 ? 4 : 8;
  if (depth % piece) return {false, false, false};
  return {vector_rows(piece, {&queries}), vector_rows(piece, keys),
          out.dtype == queries.dtype && vector_rows(piece, {&out})};
}

}  // namespace sana::cuda
