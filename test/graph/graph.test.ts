import assert from 'node:assert/strict';
import { Graph } from '../../lib/graph/graph.ts';
import { columns, entry, reshape, rows } from '../../lib/graph/tensor.ts';

const shapeError = (pattern: RegExp) => ({ code: 'ERR_SANA_SHAPE', message: pattern });

const attention = (tokens: number) => ({ heads: 1, scale: 1, lengths: [tokens] });

describe('Graph', () => {
  it('infers the shape and dtype of what each operator makes', () => {
    const g = new Graph('shapes');
    const x = g.empty('bf16', [2, 6, 8, 64]);
    assert.deepEqual(g.transpose(reshape(x, [2, 48, 64])).shape, [2, 64, 48]);
    assert.deepEqual(
      g.linearAttention(g.empty('f32', [1, 10, 192]), { headDim: 32, order: 'split', epsilon: 0 }).shape,
      [1, 10, 64],
    );
    assert.deepEqual(g.pixelShuffle(x, 2, 32).shape, [2, 12, 16, 32]);
    assert.deepEqual(g.pixelUnshuffle(x, 2, 128).shape, [2, 3, 4, 128]);
    assert.equal(g.transpose(reshape(x, [2, 48, 64]), { dtype: 'f32' }).dtype, 'f32');
    assert.equal(g.toRgb8(g.empty('f32', [1, 4, 4, 3])).dtype, 'u8');
    assert.deepEqual(g.convert(x, { repeat: 2 }).shape, [4, 6, 8, 64]);
  });

  it('fails at once, naming the operator, the shapes and the part of the model', () => {
    const g = new Graph('model');
    const x = g.empty('f32', [2, 10, 64]);
    const vector = g.empty('f32', [63]);
    assert.throws(
      () => g.scope('block 3', () => g.rmsNorm(x, vector, { epsilon: 1e-5 })),
      shapeError(
        /^rmsNorm: `weight` must be \[64\]; given x f32 \[2, 10, 64\], weight f32 \[63\] \(model > block 3\)$/,
      ),
    );
    assert.throws(() => g.toRgb8(x), shapeError(/^toRgb8: x must have 3 channels/));
    assert.throws(
      () => g.linear(x, x),
      shapeError(/^linear: `weight` must be laid out as linear or gatedLinear|weight/),
    );
    assert.throws(
      () => g.crossAttention(x, x, x, { heads: 2, scale: 1, lengths: [10] }),
      shapeError(/^crossAttention/),
    );
    assert.throws(
      () => g.activation(g.empty('i32', [1]), 'silu'),
      shapeError(/must be f32 or bf16 or f16, got i32 \[1\]/),
    );
    assert.throws(() => g.activation(columns(x, 0, 32), 'silu'), shapeError(/contiguous/));
    assert.throws(() => g.convert(x, { into: g.empty('f32', [1]) }), shapeError(/^convert: out must be \[2, 10, 64\]/));
  });

  it('rejects what kernels do not support, naming operand and limit', () => {
    const g = new Graph('model');
    const wide = g.empty('f32', [1, 2, 16386]);
    const vector = g.empty('f32', [16386]);
    const limits: [() => unknown, RegExp][] = [
      [
        () => g.rmsNorm(wide, vector, { epsilon: 0 }),
        /^rmsNorm: x may have at most 16384 channels; given x f32 \[1, 2, 16386\], weight .* \(model\)$/,
      ],
      [
        () => g.linearAttention(g.empty('f32', [1, 2, 3 * 512]), { headDim: 512, order: 'split', epsilon: 0 }),
        /^linearAttention: attribute `headDim` must be an integer from 1 to 256, got 512/,
      ],
      [
        () => g.crossAttention(wide, g.empty('f32', [1, 16386]), g.empty('f32', [1, 16386]), attention(1)),
        /^crossAttention: q may have at most 16384 channels/,
      ],
      [
        () => {
          const [q, k] = [g.empty('f32', [1, 2, 512]), g.empty('f32', [1, 512])];
          g.crossAttention(q, k, k, attention(1));
        },
        /^crossAttention: q may have at most 256 channels of a head/,
      ],
      [
        () => {
          const [q, k] = [g.empty('f32', [1, 2, 64]), g.empty('f32', [8193, 64])];
          g.crossAttention(q, k, k, attention(8193));
        },
        /^crossAttention: every entry of `lengths` must be an integer from 1 to 8192, got 8193/,
      ],
      [
        () => g.pixelShuffle(g.empty('bf16', [1, 8193, 2, 4]), 2, 1),
        /^pixelShuffle: out may have at most 16384 rows; given x bf16 \[1, 8193, 2, 4\], out bf16/,
      ],
      [
        () => g.conv2d(g.empty('f32', [1, 4, 4, 8]), { ...g.empty('f32', [8, 17, 3, 8]), layout: 'conv2d' }),
        /^conv2d: weight may have at most 15 rows of a kernel/,
      ],
      [
        () => g.linear(g.empty('bf16', [1, 2 ** 18]), { ...g.empty('i8', [8, 2 ** 18]), layout: 'linear' }),
        /^linear: weight may have at most 131072 columns of i8 or f8/,
      ],
      [
        () => g.record('tanhClamp', { x: g.empty('f32', [4]) }, { limit: 0 }),
        /^tanhClamp: attribute `limit` must be from 1\.17.*e-38 to 1\.7.*e\+38, got 0/,
      ],
      [
        () => g.linear(g.empty('f32', [1, 8]), { ...g.empty('f32', [4, 8]), layout: 'linear' }, { clip: Number.NaN }),
        /^linear: attribute `clip` must be at least 0, got NaN/,
      ],
      [
        () => g.activation(g.empty('f32', [1, 1, 1, 1, 1]), 'silu'),
        /^activation: `x` must have 1 to 4 sizes of at least 1 and fewer than 2\^40 elements, got f32 \[1, 1, 1, 1, 1\]/,
      ],
      [() => g.activation(g.empty('f32', [3, 0]), 'silu'), /`x` must have 1 to 4 sizes of at least 1/],
    ];
    for (const [record, message] of limits) assert.throws(record, shapeError(message));
  });

  it('rejects operands of different dtypes if kernels need the same one', () => {
    const g = new Graph('model');
    const x = g.empty('bf16', [1, 4, 4, 8]);
    const weight = { ...g.empty('bf16', [8, 3, 3, 8]), layout: 'conv2d' } as const;
    const residual = g.empty('f32', [1, 4, 4, 8]);
    assert.throws(
      () => g.conv2d(x, weight, { residual }),
      shapeError(/^conv2d: residual and out must have the same dtype/),
    );
    assert.deepEqual(g.conv2d(x, weight, { residual, dtype: 'f32' }).shape, [1, 4, 4, 8]);
  });

  it('records an operator by its name in the table', () => {
    const g = new Graph('names');
    const x = g.empty('bf16', [2, 6]);
    assert.deepEqual(g.record('tanhClamp', { x }, { limit: 3 }).shape, [2, 6]);
    assert.equal(g.record('tanhClamp', { x }, { limit: 3 }, { dtype: 'f32' }).dtype, 'f32');
    assert.equal(g.plan().calls.length, 2);
  });

  it('views parts of tensors without a copy, and rejects parts that do not exist', () => {
    const g = new Graph('views');
    const x = g.empty('f32', [4, 3, 8]);
    assert.deepEqual(columns(x, 2, 4), { ...x, shape: [4, 3, 4], offset: 8 });
    assert.deepEqual(rows(x, 1, 2), { ...x, shape: [2, 3, 8], offset: 96 });
    assert.deepEqual(entry(columns(x, 4, 4), 3), { ...x, shape: [3, 4], offset: 3 * 96 + 16 });
    assert.deepEqual(reshape(columns(x, 0, 4), [2, 6, 4]).pitch, 8);
    assert.throws(() => columns(x, 5, 4), shapeError(/columns 5\.\.8/));
    assert.throws(() => rows(x, 4, 1), shapeError(/rows 4\.\.4/));
    assert.throws(() => reshape(columns(x, 0, 4), [48]), shapeError(/cannot be reshaped/));
    assert.throws(() => reshape(x, [95]), shapeError(/cannot be reshaped/));
  });
});
