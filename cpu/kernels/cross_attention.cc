// out = softmax(q k^T * scale) v per head, batch item b over its own lengths[b] text tokens
//
// q [B, N, C], k and v [T, C] (the items' tokens one after another), out [B, N, C], D = C / heads up to 256. Scores
// exist only as tiles of 64 query rows by 128 keys in the worker's memory (attention_tile.h). Bound by the 4 T
// multiplications per element, where T is the item's number of tokens; q is read and out is written once.

#include "cpu/kernels/attention_tile.h"
#include "cpu/kernels/kernels.h"

namespace sana::cpu::SANA_ISA {

void cross_attention(const Arguments& arguments, Workers& workers) {
  const View& q = arguments.operands[op::CrossAttention::kQ];
  const View& k = arguments.operands[op::CrossAttention::kK];
  const View& v = arguments.operands[op::CrossAttention::kV];
  const View& out = arguments.operands[op::CrossAttention::kOut];
  const int64_t heads = arguments.integer(op::CrossAttention::kHeads);
  const Vec scale = splat(arguments.number(op::CrossAttention::kScale));
  const int64_t* lengths = arguments.list;  // [B]
  const int64_t batch = q.shape[0], tokens = q.rows() / q.shape[0], channels = q.columns();
  const int64_t depth = channels / heads;
  const int64_t tiles = (tokens + AttentionTile::kRows - 1) / AttentionTile::kRows;

  parallel(workers, batch * heads * tiles, [&](int64_t task, int worker) {
    const int64_t first_row = task % tiles * AttentionTile::kRows;
    const int64_t channel = task / tiles % heads * depth;
    const int64_t item = task / tiles / heads;
    const int64_t rows = smaller(AttentionTile::kRows, tokens - first_row);
    int64_t first_key = 0;
    for (int64_t i = 0; i < item; ++i) first_key += lengths[i];
    const int64_t end_key = first_key + lengths[item];

    AttentionTile tile(Workspace(workers, worker), depth, rows);
    with_types(q, [&](const auto* from) {
      tile.set_queries(from + (item * tokens + first_row) * q.pitch + channel, q.pitch);
    });
    for (int64_t key = first_key; key < end_key; key += AttentionTile::kKeys) {
      const int64_t count = smaller(AttentionTile::kKeys, end_key - key);
      with_types(k, v, [&](const auto* keys, const auto* values) {
        tile.set_keys(0, keys + key * k.pitch + channel, k.pitch, count);
        tile.set_values(0, values + key * v.pitch + channel, v.pitch, count);
      });
      tile.attend(count, [&](Vec product, int64_t, int64_t) { return product * scale; });
    }
    with_types(out,
               [&](auto* to) { tile.get_output(to + (item * tokens + first_row) * channels + channel, channels); });
  });
}

}  // namespace sana::cpu::SANA_ISA
