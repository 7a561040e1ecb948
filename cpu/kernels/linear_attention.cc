// Per head:  S = sum_n relu(k_n) [v_n, 1]     [D, D + 1]
//            out_n = (relu(q_n) S)[:D] / ((relu(q_n) S)[D] + epsilon)
//
// qkv [B, N, 3C], out [B, N, C], all arithmetic f32, D up to 256. Two passes over memory: k and v are read once for S,
// q once to apply it. Only the output is written.
//
// The sums over tokens are added in a fixed order: within blocks of 64 tokens, the blocks of a span, the spans of the
// sequence. A sequence has at most eight spans, whose length depends on N alone. Heads and spans are distributed over
// the workers. Summing in three levels keeps f32 accurate for any N that fits in memory.
// Bound by the 2 D multiplications per element, and for large N by the short runs that the heads occupy in memory.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile_product.h"
#include "cpu/parallel.h"
#include "cpu/simd/functions.h"

namespace sana::cpu::SANA_ISA {

namespace {

constexpr int64_t kBlock = 64;        // tokens
constexpr int64_t kSpans = 8;         // per sequence, at most
constexpr int64_t kSpanTokens = 256;  // per span, at least
constexpr int64_t kApplyTokens = 256;
// The states of one wave of heads are in the first worker's memory, after the part that every worker needs.
constexpr int64_t kStatesAt = 1 << 20;

struct Shape {
  int64_t batch, tokens, heads, depth, padded;  // B, N, H, D, D rounded up to whole vectors
  bool interleaved;
  int64_t spans, span_tokens;
  int64_t heads_per_task;  // neighbours in memory: together they form long runs
  int64_t state_floats;    // [D + 1, padded]: row D is the sum of relu(k)

  // The offset of q (part 0), k (1) or v (2) of a head of the batch in qkv [B, N, 3C].
  SANA_INLINE int64_t offset(int64_t head, int64_t token, int part) const {
    const int64_t channels = heads * depth;
    const int64_t row = (head / heads * tokens + token) * 3 * channels;
    const int64_t h = head % heads;
    return row + (interleaved ? (3 * h + part) * depth : part * channels + h * depth);
  }
};

// Loads relu(x), or x for v, of `count` tokens of neighbouring heads to tiles [heads, kBlock, padded], zero beyond D.
// Goes token by token, because the heads of a token are adjacent.
template <class T>
void load_tokens(const Shape& shape, const T* qkv, int64_t head, int64_t end_head, int64_t token, int part,
                 int64_t count, float* tiles) {
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t h = head; h < end_head; ++h) {
      const T* x = qkv + shape.offset(h, token + n, part);
      float* row = tiles + ((h - head) * kBlock + n) * shape.padded;
      for_each_vector(shape.depth, [&](int64_t d, auto lanes) {
        const Vec v = load(x + d, lanes);
        store(row + d, part == 2 ? v : relu(v));
      });
    }
  }
}

// Adds `count` tokens of one head to its state; the first block of a span sets it.
void sum_block(const Shape& shape, const float* keys, const float* values, int64_t count, bool add, float* state) {
  tile_product({.rows = shape.depth,
                .depth = count,
                .columns = shape.padded,
                .a = keys,
                .a_row = 1,
                .a_column = shape.padded,
                .b = values,
                .b_row = shape.padded,
                .c = state,
                .c_row = shape.padded,
                .add = add});
  float* key_sum = state + shape.depth * shape.padded;
  for (int64_t d = 0; d < shape.padded; d += kLanes) {
    Vec sum = zero();
    for (int64_t n = 0; n < count; ++n) sum = sum + load(keys + n * shape.padded + d);
    store(key_sum + d, add ? load(key_sum + d) + sum : sum);
  }
}

// Computes `count` tokens of one head of out [B, N, C] from their queries. `numerators` is scratch memory for as many
// tokens.
template <class Out>
void apply_block(const Shape& shape, const float* queries, int64_t head, int64_t token, int64_t count,
                 const float* state, float epsilon, float* numerators, Out* out) {
  tile_product({.rows = count,
                .depth = shape.depth,
                .columns = shape.padded,
                .a = queries,
                .a_row = shape.padded,
                .a_column = 1,
                .b = state,
                .b_row = shape.padded,
                .c = numerators,
                .c_row = shape.padded,
                .add = false});
  const float* key_sum = state + shape.depth * shape.padded;
  const int64_t channels = shape.heads * shape.depth;
  Out* row = out + (head / shape.heads * shape.tokens + token) * channels + head % shape.heads * shape.depth;
  for (int64_t n = 0; n < count; ++n, row += channels) {
    Vec products = zero();
    for (int64_t d = 0; d < shape.padded; d += kLanes) {
      products = fma(load(queries + n * shape.padded + d), load(key_sum + d), products);
    }
    const Vec denominator = splat(sum(products) + epsilon);
    for_each_vector(shape.depth, [&](int64_t d, auto lanes) {
      store(row + d, load(numerators + n * shape.padded + d) / denominator, lanes);
    });
  }
}

}  // namespace

void linear_attention(const Arguments& arguments, Workers& workers) {
  const View& qkv = arguments.operands[op::LinearAttention::kQkv];
  const View& out = arguments.operands[op::LinearAttention::kOut];
  const float epsilon = arguments.number(op::LinearAttention::kEpsilon);
  Shape shape = {};
  shape.batch = qkv.shape[0];
  shape.tokens = qkv.rows() / qkv.shape[0];
  shape.depth = arguments.integer(op::LinearAttention::kHeadDim);
  shape.padded = round_up(shape.depth, kLanes);
  shape.heads = out.columns() / shape.depth;
  shape.interleaved = arguments.choice<HeadOrder>(op::LinearAttention::kOrder) == HeadOrder::kInterleaved;
  shape.span_tokens = round_up((shape.tokens + kSpans - 1) / kSpans, kBlock);
  if (shape.span_tokens < kSpanTokens) shape.span_tokens = kSpanTokens;
  shape.spans = (shape.tokens + shape.span_tokens - 1) / shape.span_tokens;
  shape.heads_per_task = shape.padded < 128 ? 128 / shape.padded : 1;
  shape.state_floats = round_up((shape.depth + 1) * shape.padded, 16);

  float* states = static_cast<float*>(workers.workspace(0)) + kStatesAt / sizeof(float);  // [wave, spans, D + 1, D]
  const int64_t states_that_fit = (Workers::kWorkspaceBytes - kStatesAt) / sizeof(float) / shape.state_floats;
  const int64_t all_heads = shape.batch * shape.heads;
  const int64_t wave = states_that_fit / shape.spans;

  with_types(qkv, out, [&](const auto* from, auto* to) {
    for (int64_t first_head = 0; first_head < all_heads; first_head += wave) {
      const int64_t heads = smaller(wave, all_heads - first_head);
      const int64_t head_tasks = (heads + shape.heads_per_task - 1) / shape.heads_per_task;
      const auto state_of = [&](int64_t head, int64_t span) {
        return states + (head * shape.spans + span) * shape.state_floats;
      };

      parallel(workers, head_tasks * shape.spans, [&](int64_t task, int worker) {
        const int64_t head = task % head_tasks * shape.heads_per_task;
        const int64_t end_head = smaller(head + shape.heads_per_task, heads);
        const int64_t span = task / head_tasks;
        const int64_t first = span * shape.span_tokens;
        const int64_t end = smaller(first + shape.span_tokens, shape.tokens);
        Workspace workspace(workers, worker);
        float* keys = workspace.floats(shape.heads_per_task * kBlock * shape.padded);
        float* values = workspace.floats(shape.heads_per_task * kBlock * shape.padded);
        for (int64_t token = first; token < end; token += kBlock) {
          const int64_t count = smaller(kBlock, end - token);
          load_tokens(shape, from, first_head + head, first_head + end_head, token, 1, count, keys);
          load_tokens(shape, from, first_head + head, first_head + end_head, token, 2, count, values);
          for (int64_t h = head; h < end_head; ++h) {
            const int64_t tile = (h - head) * kBlock * shape.padded;
            sum_block(shape, keys + tile, values + tile, count, token > first, state_of(h, span));
          }
        }
      });

      const int64_t token_tasks = (shape.tokens + kApplyTokens - 1) / kApplyTokens;
      parallel(workers, head_tasks * token_tasks, [&](int64_t task, int worker) {
        const int64_t head = task % head_tasks * shape.heads_per_task;
        const int64_t end_head = smaller(head + shape.heads_per_task, heads);
        const int64_t first = task / head_tasks * kApplyTokens;
        const int64_t end = smaller(first + kApplyTokens, shape.tokens);
        Workspace workspace(workers, worker);
        float* queries = workspace.floats(shape.heads_per_task * kBlock * shape.padded);
        float* numerators = workspace.floats(kBlock * shape.padded);
        float* totals = workspace.floats(shape.heads_per_task * shape.state_floats);
        for (int64_t h = head; h < end_head; ++h) {
          float* state = totals + (h - head) * shape.state_floats;
          for (int64_t i = 0; i < (shape.depth + 1) * shape.padded; i += kLanes) {
            Vec total = load(state_of(h, 0) + i);
            for (int64_t span = 1; span < shape.spans; ++span) total = total + load(state_of(h, span) + i);
            store(state + i, total);
          }
        }
        for (int64_t token = first; token < end; token += kBlock) {
          const int64_t count = smaller(kBlock, end - token);
          load_tokens(shape, from, first_head + head, first_head + end_head, token, 0, count, queries);
          for (int64_t h = head; h < end_head; ++h) {
            apply_block(shape, queries + (h - head) * kBlock * shape.padded, first_head + h, token, count,
                        totals + (h - head) * shape.state_floats, epsilon, numerators, to);
          }
        }
      });
    }
  });
}

}  // namespace sana::cpu::SANA_ISA
