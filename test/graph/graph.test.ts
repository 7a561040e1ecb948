import assert from 'node:assert/strict';
import { Graph } from '../../lib/graph/graph.ts';
import { columns, entry, reshape, rows } from '../../lib/graph/tensor.ts';

const shapeError = (pattern: RegExp) => ({ code: 'ERR_SANA_SHAPE', message: pattern });

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

  it('sees parts of tensors without a copy, and refuses parts that are not there', () => {
    const g = new Graph('views');
    const x = g.empty('f32', [4, 3, 8]);
    assert.deepEqual(columns(x, 2, 4), { ...x, shape: [4, 3, 4], offset: 8 });
    assert.deepEqual(rows(x, 1, 2), { ...x, shape: [2, 3, 8], offset: 96 });
    assert.deepEqual(entry(columns(x, 4, 4), 3), { ...x, shape: [3, 4], offset: 3 * 96 + 16 });
    assert.deepEqual(reshape(columns(x, 0, 4), [2, 6, 4]).pitch, 8);
    assert.throws(() => columns(x, 5, 4), shapeError(/columns 5\.\.8/));
    assert.throws(() => rows(x, 4, 1), shapeError(/rows 4\.\.4/));
    assert.throws(() => reshape(columns(x, 0, 4), [48]), shapeError(/cannot be seen/));
    assert.throws(() => reshape(x, [95]), shapeError(/cannot be seen/));
  });
});
