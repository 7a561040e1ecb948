// Causal attention of concatenated sequences, each preceded by the same prefix of keys and values.
// score = softcap tanh(q k * scale / softcap), or q k * scale; a token sees the last `window` tokens, itself included.
//
// qkv [T, (heads + 2 kvHeads) D] = q | k | v, prefix [P, 2 kvHeads D] = k | v, out [T, heads D], D up to 256; query
// head h reads key head h kvHeads / heads. A task is 64 tokens of one head of one sequence (attention_tile.h). Chunks
// of keys begin at positions that are multiples of 128, where positions include the prefix. A token's result is
// therefore the same whether the tokens before it are in the prefix or in the sequence. Bound by the 2 T
// multiplications per element of q, on average, and the tanh and exp of each score.

#include "cpu/kernels/attention_tile.h"
#include "cpu/kernels/kernels.h"

namespace sana::cpu::SANA_ISA {

void causal_attention(const Arguments& arguments, Workers& workers) {
  const View& qkv = arguments.operands[op::CausalAttention::kQkv];
  const View& prefix = arguments.operands[op::CausalAttention::kPrefix];
  const View& out = arguments.operands[op::CausalAttention::kOut];
  const int64_t heads = arguments.integer(op::CausalAttention::kHeads);
  const int64_t key_heads = arguments.integer(op::CausalAttention::kKvHeads);
  const Vec scale = splat(arguments.number(op::CausalAttention::kScale));
  const float softcap = arguments.number(op::CausalAttention::kSoftcap);
  const int64_t window = arguments.integer(op::CausalAttention::kWindow);
  const int64_t depth = out.columns() / heads;
  const int64_t prefix_length = prefix ? prefix.rows() : 0;
  int64_t tiles = 0;
  for (int64_t i = 0; i < arguments.list_length; ++i) {
    tiles += (arguments.list[i] + AttentionTile::kRows - 1) / AttentionTile::kRows;
  }

  parallel(workers, tiles * heads, [&](int64_t task, int worker) {
    const int64_t head = task % heads;
    const int64_t key_head = head * key_heads / heads;
    int64_t tile_index = task / heads, sequence = 0, start = 0;  // row of qkv where the sequence starts
    for (;; start += arguments.list[sequence++]) {
      const int64_t own = (arguments.list[sequence] + AttentionTile::kRows - 1) / AttentionTile::kRows;
      if (tile_index < own) break;
      tile_index -= own;
    }
    const int64_t first = tile_index * AttentionTile::kRows;  // token of the sequence
    const int64_t rows = smaller(AttentionTile::kRows, arguments.list[sequence] - first);
    const int64_t position = prefix_length + first;  // of the tile's first token

    AttentionTile tile(Workspace(workers, worker), depth, rows);
    with_types(
        qkv, [&](const auto* from) { tile.set_queries(from + (start + first) * qkv.pitch + head * depth, qkv.pitch); });
    const int64_t end_key = position + rows;
    int64_t key = window > 0 && position >= window ? position - window + 1 : 0;
    key -= key % AttentionTile::kKeys;
    for (; key < end_key; key += AttentionTile::kKeys) {
      const int64_t count = smaller(AttentionTile::kKeys, end_key - key);
      const int64_t from_prefix = key < prefix_length ? smaller(count, prefix_length - key) : 0;
      if (from_prefix > 0) {
        with_types(prefix, [&](const auto* from) {
          const auto* keys = from + key * prefix.pitch + key_head * depth;
          tile.set_keys(0, keys, prefix.pitch, from_prefix);
          tile.set_values(0, keys + key_heads * depth, prefix.pitch, from_prefix);
        });
      }
      if (from_prefix < count) {
        with_types(qkv, [&](const auto* from) {
          const int64_t token = start + key + from_prefix - prefix_length;
          const auto* keys = from + token * qkv.pitch + (heads + key_head) * depth;
          tile.set_keys(from_prefix, keys, qkv.pitch, count - from_prefix);
          tile.set_values(from_prefix, keys + key_heads * depth, qkv.pitch, count - from_prefix);
        });
      }
      float offsets[kLanes];
      for (int i = 0; i < kLanes; ++i) offsets[i] = static_cast<float>(i);
      tile.attend(count, [&](Vec product, int64_t t, int64_t r) {
        Vec score = product * scale;
        if (softcap > 0) score = tanh(score / splat(softcap)) * splat(softcap);
        // The distance from the key to the row's token: visible from 0 to window - 1.
        const Vec distance = splat(static_cast<float>(position + r - key - t)) + load(offsets);
        const Vec hidden = splat(-__builtin_inff());
        score = select(distance < zero(), hidden, score);
        return window > 0 ? select(distance < splat(static_cast<float>(window)), score, hidden) : score;
      });
    }
    with_types(out,
               [&](auto* to) { tile.get_output(to + (start + first) * out.columns() + head * depth, out.columns()); });
  });
}

}  // namespace sana::cpu::SANA_ISA
