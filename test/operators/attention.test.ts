import { causalAttention, crossAttention, linearAttention } from '../reference/vector.ts';
import type { Maker } from '../support/operands.ts';
import { type Example, testOperator } from '../support/operators.ts';

interface LinearAttentionCase {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  readonly order?: 'split' | 'interleaved';
  readonly epsilon?: number;
  readonly scale?: number; // of qkv
  readonly mixed?: boolean; // out is of the other dtype
}

function linearAttentionExample(make: Maker, c: LinearAttentionCase): Example {
  const { batch, tokens, heads, headDim, order = 'split', epsilon = 1e-15, scale = 1 } = c;
  const channels = heads * headDim;
  const qkv = make.activation([batch, tokens, 3 * channels], { scale });
  const options = { headDim, order, epsilon };
  return {
    op: 'linearAttention',
    operands: { qkv, out: make.out([batch, tokens, channels], c.mixed ? { dtype: make.other } : {}) },
    attributes: options,
    expected: () => ({ out: linearAttention(qkv.data, [batch, tokens, channels], options) }),
    items: { count: batch },
  };
}

testOperator('linearAttention', (make) =>
  (
    [
      { batch: 2, tokens: 70, heads: 36, headDim: 32 },
      { batch: 1, tokens: 20, heads: 70, headDim: 32 },
      { batch: 1, tokens: 33, heads: 32, headDim: 32, order: 'interleaved' },
      { batch: 1, tokens: 600, heads: 2, headDim: 32, order: 'interleaved', mixed: true }, // several spans of tokens
      { batch: 1, tokens: 1100, heads: 3, headDim: 32, scale: 200 }, // sums beyond f16
      { batch: 2, tokens: 259, heads: 1, headDim: 32, order: 'interleaved', scale: 1e-3, epsilon: 1e-9 },
      { batch: 1, tokens: 1, heads: 3, headDim: 32 },
      { batch: 1, tokens: 65, heads: 2, headDim: 72, epsilon: 1e-3 },
      { batch: 1, tokens: 523, heads: 1, headDim: 40, order: 'interleaved' },
      { batch: 2, tokens: 19, heads: 3, headDim: 112, mixed: true },
      { batch: 1, tokens: 5, heads: 2, headDim: 256 },
      { batch: 1, tokens: 1, heads: 1, headDim: 1, epsilon: 0.5 },
      { batch: 3, tokens: 2, heads: 5, headDim: 7, order: 'interleaved', epsilon: 0.1 },
      { batch: 2, tokens: 257, heads: 7, headDim: 3, epsilon: 0.1 },
      // More heads than a GPU's workspace has room for states; in one dtype, as it takes seconds.
      ...(make.dtype === 'f32' ? [{ batch: 32, tokens: 1, heads: 512, headDim: 32 }] : []),
    ] satisfies readonly LinearAttentionCase[]
  ).map((c) => linearAttentionExample(make, c)),
);

interface CrossCase {
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  readonly lengths: readonly number[];
  readonly views?: 'aligned' | 'odd'; // q, k and v are columns of wider tensors, k and v of one and the same width
  readonly mixed?: boolean;
}

function crossExample(make: Maker, c: CrossCase): Example {
  const { tokens, heads, headDim, lengths, views } = c;
  const channels = heads * headDim;
  const sum = lengths.reduce((a, b) => a + b, 0);
  const of = 2 * channels + (views === 'odd' ? 3 : 0);
  const view = (first: number) => (views ? { columns: { first, of } } : {});
  const q = make.activation([lengths.length, tokens, channels], { scale: 3, ...view(views === 'odd' ? 1 : 0) });
  const k = make.activation([sum, channels], view(0));
  const v = make.activation([sum, channels], view(channels));
  const options = { heads, scale: headDim ** -0.5, lengths };
  return {
    op: 'crossAttention',
    operands: { q, k, v, out: make.out(q.shape, c.mixed ? { dtype: make.other } : {}) },
    attributes: options,
    expected: () => ({ out: crossAttention(q.data, k.data, v.data, [tokens, channels], options) }),
    items: { count: lengths.length, sequences: ['k', 'v'] },
  };
}

testOperator('crossAttention', (make) =>
  (
    [
      { tokens: 9, heads: 16, headDim: 72, lengths: [5, 31], views: 'odd' },
      { tokens: 5, heads: 20, headDim: 112, lengths: [17], views: 'odd' },
      { tokens: 67, heads: 2, headDim: 32, lengths: [300, 1, 129] }, // more rows and keys than a tile
      { tokens: 3, heads: 1, headDim: 256, lengths: [2, 7], mixed: true },
      { tokens: 1, heads: 1, headDim: 1, lengths: [1] },
      { tokens: 65, heads: 3, headDim: 5, lengths: [128, 3], mixed: true, views: 'odd' },
      { tokens: 131, heads: 2, headDim: 72, lengths: [40, 1, 300], views: 'aligned' },
      { tokens: 70, heads: 2, headDim: 112, lengths: [1, 40] },
      { tokens: 17, heads: 1, headDim: 112, lengths: [300], views: 'aligned' },
      { tokens: 130, heads: 1, headDim: 128, lengths: [33] },
      { tokens: 66, heads: 1, headDim: 256, lengths: [70] },
      { tokens: 18, heads: 2, headDim: 88, lengths: [65], mixed: true },
    ] satisfies readonly CrossCase[]
  ).map((c) => crossExample(make, c)),
);

interface CausalCase {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly lengths: readonly number[];
  readonly prefix?: number; // tokens
  readonly softcap?: number;
  readonly window?: number;
  readonly views?: boolean; // qkv and prefix are columns of wider tensors
  readonly mixed?: boolean;
}

function causalExample(make: Maker, c: CausalCase): Example {
  const { heads, kvHeads, headDim, lengths, softcap = 0, window = 0, views } = c;
  const tokens = lengths.reduce((a, b) => a + b, 0);
  const width = (heads + 2 * kvHeads) * headDim;
  const prefixWidth = 2 * kvHeads * headDim;
  const view = (of: number) => (views ? { columns: { first: 2, of: of + 7 } } : {});
  const qkv = make.activation([tokens, width], { scale: 2, ...view(width) });
  const prefix = c.prefix ? make.activation([c.prefix, prefixWidth], { scale: 2, ...view(prefixWidth) }) : undefined;
  const options = { heads, kvHeads, scale: headDim ** -0.5, softcap, window, lengths };
  return {
    op: 'causalAttention',
    operands: {
      qkv,
      ...(prefix && { prefix }),
      out: make.out([tokens, heads * headDim], c.mixed ? { dtype: make.other } : {}),
    },
    attributes: options,
    expected: () => ({ out: causalAttention(qkv.data, prefix?.data, headDim, options) }),
    items: { count: lengths.length, shared: ['prefix'], sequences: ['qkv', 'out'] },
  };
}

testOperator('causalAttention', (make) =>
  (
    [
      { heads: 8, kvHeads: 4, headDim: 256, lengths: [7, 3], prefix: 5, softcap: 50, window: 4096 },
      { heads: 8, kvHeads: 4, headDim: 256, lengths: [11], softcap: 50, window: 4, views: true },
      { heads: 4, kvHeads: 2, headDim: 32, lengths: [70, 1, 66], prefix: 131, softcap: 2, window: 100 }, // tiles, chunks
      { heads: 2, kvHeads: 1, headDim: 256, lengths: [70, 5], prefix: 40, softcap: 50, window: 4096 }, // tiles of 256
      { heads: 4, kvHeads: 2, headDim: 16, lengths: [3, 150], prefix: 30, softcap: 50, window: 64 },
      { heads: 2, kvHeads: 1, headDim: 72, lengths: [9, 20], prefix: 3, views: true, mixed: true },
      { heads: 3, kvHeads: 3, headDim: 5, lengths: [140], window: 1 },
      { heads: 6, kvHeads: 2, headDim: 7, lengths: [2, 1, 4], prefix: 1, window: 2, softcap: 1 },
      { heads: 1, kvHeads: 1, headDim: 1, lengths: [1] },
      { heads: 1, kvHeads: 1, headDim: 112, lengths: [200], window: 130, mixed: true },
    ] satisfies readonly CausalCase[]
  ).map((c) => causalExample(make, c)),
);
