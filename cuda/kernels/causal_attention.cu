// Causal attention of concatenated sequences, each preceded by the same prefix of keys and values.
//   score = softcap tanh(q k * scale / softcap), or q k * scale; a token sees the last `window` tokens, itself included
//
// qkv [T, (heads + 2 kvHeads) D] = q | k | v, prefix [P, 2 kvHeads D] = k | v, out [T, heads D], D up to 256; query
// head h reads key head h kvHeads / heads; qkv and prefix may be columns of wider tensors. A block takes a tile of
// tokens of one head of one sequence (attention_tile.cuh) and only the keys that at least one of them sees. Positions
// count from the start of the prefix. Bound by the 6 T multiplications per element of q and the tanh and exp2 of each
// score. For the few hundred tokens of a prompt it is bound by the time of one block, because there are no more blocks
// than multiprocessors.

#include "cuda/kernels/attention_tile.cuh"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

// ---- kernels -------------------------------------------------------------------------------------------------------

struct CausalScores {
  float scale;    // times log2(e), or divided by softcap
  float softcap;  // times log2(e); 0: no softcap
  int window;     // INT32_MAX: no limit
  int position;   // position of the tile's first query
  int last;       // position of its last query

  __device__ __forceinline__ float operator()(float product) const {
    return softcap > 0.0f ? softcap * tanhf(product * scale) : product * scale;
  }
  __device__ __forceinline__ bool visible(int query, int key) const {
    const int distance = position + query - key;
    return distance >= 0 && distance < window;
  }
  __device__ __forceinline__ bool all_visible(int first_key, int end_key) const {
    return end_key - 1 <= position && last - first_key < window;
  }
};

template <class T>
struct CausalAttention {
  const T* qkv;          // [T, (heads + 2 kvHeads) D], rows qkv_pitch apart
  const T* prefix;       // [P, 2 kvHeads D], rows prefix_pitch apart
  AttentionOutput out;   // [T, heads D]
  const int32_t* first;  // [sequences + 1], rows where the sequences start
  int64_t qkv_pitch, prefix_pitch;
  int heads, key_heads, depth, prefix_length;
  CausalScores score;
  WideRows wide;
};

template <class T, int D>
__global__ void __launch_bounds__(kAttentionThreads) causal_attention_kernel(CausalAttention<T> call) {
  constexpr int kQueries = AttentionTile<T, D>::kQueries;
  const int head = blockIdx.x % call.heads;
  const int key_head = static_cast<int>(int64_t(head) * call.key_heads / call.heads);
  int tile = blockIdx.x / call.heads, sequence = 0;
  for (;; ++sequence) {
    const int tiles = (call.first[sequence + 1] - call.first[sequence] + kQueries - 1) / kQueries;
    if (tile < tiles) break;
    tile -= tiles;
  }
  const int64_t start = call.first[sequence];
  const int first_token = tile * kQueries;
  const int rows = min(kQueries, static_cast<int>(call.first[sequence + 1] - start) - first_token);
  const int position = call.prefix_length + first_token;

  CausalScores score = call.score;
  score.position = position;
  score.last = position + rows - 1;
  const T* const own = call.qkv + start * call.qkv_pitch;  // [.., q | k | v]
  const T* const keys = own + int64_t(call.heads + key_head) * call.depth;
  const T* const prefix_keys = call.prefix ? call.prefix + int64_t(key_head) * call.depth : keys;
  const int64_t to_values = int64_t(call.key_heads) * call.depth;

  AttentionTask<T> task;
  task.queries = own + first_token * call.qkv_pitch + int64_t(head) * call.depth;
  task.query_pitch = call.qkv_pitch;
  task.keys = {prefix_keys, keys, call.prefix_pitch, call.qkv_pitch, call.prefix_length};
  task.values = {prefix_keys + to_values, keys + to_values, call.prefix_pitch, call.qkv_pitch, call.prefix_length};
  task.out = call.out;
  task.out_pitch = int64_t(call.heads) * call.depth;
  task.first_out = (start + first_token) * task.out_pitch + int64_t(head) * call.depth;
  task.rows = rows;
  task.depth = call.depth;
  task.first_key = position >= score.window ? position - score.window + 1 : 0;
  task.end_key = position + rows;
  task.wide = call.wide;
  attend<T, D>(task, score);
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void causal_attention(const Call& call, const Stream& stream) {
  const View& qkv = call.operands[op::CausalAttention::kQkv];
  const View& prefix = call.operands[op::CausalAttention::kPrefix];
  const View& out = call.operands[op::CausalAttention::kOut];
  const int64_t heads = call.integer(op::CausalAttention::kHeads);
  const float scale = call.number(op::CausalAttention::kScale), softcap = call.number(op::CausalAttention::kSoftcap);
  const int64_t window = call.integer(op::CausalAttention::kWindow);
  const int64_t depth = out.columns() / heads;
  with_type(qkv.dtype, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    with_padded_depth<T>(depth, [&](auto padded) {
      using Tile = AttentionTile<T, padded()>;
      CausalAttention<T> work = {};
      work.qkv = qkv.as<T>();
      work.prefix = prefix.as<T>();
      work.out = {out.data, out.dtype};
      work.first = call.offsets;
      work.qkv_pitch = qkv.pitch;
      work.prefix_pitch = prefix.pitch;
      work.heads = static_cast<int>(heads);
      work.key_heads = static_cast<int>(call.integer(op::CausalAttention::kKvHeads));
      work.depth = static_cast<int>(depth);
      work.prefix_length = prefix ? static_cast<int>(prefix.rows()) : 0;
      work.score.scale = softcap > 0 ? scale / softcap : scale * kLog2e;
      work.score.softcap = softcap * kLog2e;
      work.score.window = window > 0 ? static_cast<int>(window) : INT32_MAX;
      work.wide = wide_rows(depth, qkv, {&qkv, &prefix}, out);
      int64_t tiles = 0;
      for (int64_t i = 0; i < call.list_length; ++i) tiles += divide_up(call.list[i], Tile::kQueries);
      launch(stream.handle, causal_attention_kernel<T, padded()>, static_cast<unsigned>(tiles * heads),
             kAttentionThreads, Tile::kSharedBytes, work);
    });
  });
}

}  // namespace sana::cuda
