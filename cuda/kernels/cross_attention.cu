// out = softmax(q k^T * scale) v per head, batch item b over its own lengths[b] text tokens
//
// q [B, N, C], k and v [T, C] (the items' tokens one after another; q, k and v may be columns of wider tensors), out
// [B, N, C], D = C / heads up to 256. A block takes a tile of an item's queries of one head; the scores never leave the
// block (attention_tile.cuh). Blocks of neighbouring heads are consecutive, because their channels share cache lines.
// Bound by memory for short texts: q is read once, out is written once, keys and values come from the cache. From about
// T = 150 tokens it is bound by the 6 T multiplications per element (4 T plus the second parts of the weights).

#include "cuda/kernels/attention_tile.cuh"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

// ---- kernels -------------------------------------------------------------------------------------------------------

struct PlainScores {
  float scale;  // times log2(e)

  __device__ __forceinline__ float operator()(float product) const { return product * scale; }
  __device__ __forceinline__ bool visible(int, int) const { return true; }
  __device__ __forceinline__ bool all_visible(int, int) const { return true; }
};

template <class T>
struct CrossAttention {
  const T* q;            // [B, N, C], rows q_pitch apart
  const T* k;            // [T, C], rows k_pitch apart
  const T* v;            // [T, C], rows v_pitch apart
  AttentionOutput out;   // [B, N, C]
  const int32_t* first;  // [B + 1], rows of k where the items' tokens start
  int64_t q_pitch, k_pitch, v_pitch;
  int64_t tokens, tiles;  // N, and the tiles of N
  int heads, depth;
  PlainScores score;
  WideRows wide;
};

template <class T, int D>
__global__ void __launch_bounds__(kAttentionThreads) cross_attention_kernel(CrossAttention<T> call) {
  const int head = blockIdx.x % call.heads;
  const int64_t tile = blockIdx.x / call.heads, item = tile / call.tiles;
  const int64_t first_token = tile % call.tiles * AttentionTile<T, D>::kQueries;
  const int64_t row = item * call.tokens + first_token, channel = int64_t(head) * call.depth;
  const int64_t channels = int64_t(call.heads) * call.depth;
  const int first_key = call.first[item];

  AttentionTask<T> task;
  task.queries = call.q + row * call.q_pitch + channel;
  task.query_pitch = call.q_pitch;
  task.keys = {nullptr, call.k + first_key * call.k_pitch + channel, 0, call.k_pitch, 0};
  task.values = {nullptr, call.v + first_key * call.v_pitch + channel, 0, call.v_pitch, 0};
  task.out = call.out;
  task.first_out = row * channels + channel;
  task.out_pitch = channels;
  task.rows = static_cast<int>(min(int64_t(AttentionTile<T, D>::kQueries), call.tokens - first_token));
  task.depth = call.depth;
  task.first_key = 0;
  task.end_key = call.first[item + 1] - first_key;
  task.wide = call.wide;
  attend<T, D>(task, call.score);
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void cross_attention(const Call& call, const Stream& stream) {
  const View& q = call.operands[op::CrossAttention::kQ];
  const View& k = call.operands[op::CrossAttention::kK];
  const View& v = call.operands[op::CrossAttention::kV];
  const View& out = call.operands[op::CrossAttention::kOut];
  const int64_t heads = call.integer(op::CrossAttention::kHeads);
  const int64_t batch = q.shape[0], tokens = q.shape[1], depth = q.columns() / heads;
  with_type(q.dtype, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    with_padded_depth<T>(depth, [&](auto padded) {
      using Tile = AttentionTile<T, padded()>;
      CrossAttention<T> work = {};
      work.q = q.as<T>();
      work.k = k.as<T>();
      work.v = v.as<T>();
      work.out = {out.data, out.dtype};
      work.first = call.offsets;
      work.q_pitch = q.pitch;
      work.k_pitch = k.pitch;
      work.v_pitch = v.pitch;
      work.tokens = tokens;
      work.tiles = divide_up(tokens, Tile::kQueries);
      work.heads = static_cast<int>(heads);
      work.depth = static_cast<int>(depth);
      work.score = {call.number(op::CrossAttention::kScale) * kLog2e};
      work.wide = wide_rows(depth, q, {&k, &v}, out);
      launch(stream.handle, cross_attention_kernel<T, padded()>, static_cast<unsigned>(batch * work.tiles * heads),
             kAttentionThreads, Tile::kSharedBytes, work);
    });
  });
}

}  // namespace sana::cuda
