import assert from 'node:assert/strict';
import { conv2d, linear } from '../reference/matrix.ts';
import { linearAttention, rmsNorm } from '../reference/vector.ts';
import { Maker } from '../support/operands.ts';
import { assertExpected, deviceOn, type Example, paths, run, WeightFiles } from '../support/operators.ts';

/** Data with one element left out. */
const without = (data: Float32Array, index: number): Float32Array => data.map((value, i) => (i === index ? 0 : value));

describe('the tolerances of operators', () => {
  let files: WeightFiles;
  before(() => {
    files = new WeightFiles();
  });
  after(() => files.dispose());

  /** The example passes, and fails against each reference that lacks something. */
  async function sees(example: Example, lacking: Readonly<Record<string, ArrayLike<number>>>): Promise<void> {
    const outcome = await run(deviceOn(paths.at(-1) ?? 'portable', 2), files, example);
    assertExpected(example, outcome, 'as it is');
    for (const [what, out] of Object.entries(lacking)) {
      const wrong = { ...example, expected: () => ({ out }) };
      assert.throws(() => assertExpected(wrong, outcome, what), /max_abs/, `${what} goes unseen`);
    }
  }

  for (const dtype of ['f32', 'bf16'] as const) {
    it(`see a product of 2880, a bias, a gate and a clip that are missing, in ${dtype}`, async () => {
      const make = new Maker(dtype);
      const [M, N, K] = [3, 70, 2880];
      const x = make.activation([M, K]);
      const weight = make.activation([N, K], { layout: 'linear', scale: 3 / Math.sqrt(K) });
      const [bias, gate] = [make.vector([N]), make.vector([1, N])];
      const given = { x: x.data, weight: weight.data, bias: bias.data, gate: gate.data, M, N, K, clip: 2 };
      const operands = { x, weight, bias, gate, out: make.out([M, N]) };
      const attributes = { activation: 'none', clip: 2 };
      await sees(
        { op: 'linear', operands, attributes, expected: () => ({ out: linear(given) }) },
        {
          'the last product': linear({ ...given, x: without(x.data, K - 1) }),
          'the bias of a column': linear({ ...given, bias: without(bias.data, N - 1) }),
          'the gate of a column': linear({ ...given, gate: gate.data.map((value, i) => (i === 32 ? 1 : value)) }),
          'the clip': linear({ ...given, clip: 0 }),
        },
      );
    });

    it(`see a tap and a residual that are missing, in ${dtype}`, async () => {
      const make = new Maker(dtype);
      const [B, height, width, I, O] = [1, 5, 6, 128, 64];
      const x = make.activation([B, height, width, I]);
      const weight = make.activation([O, 3, 3, I], { layout: 'conv2d', scale: 3 / Math.sqrt(9 * I) });
      const residual = make.activation([B, height, width, O]);
      const shape = { B, height, width, I, O, kernelHeight: 3, kernelWidth: 3, stride: 1 };
      const given = { x: x.data, weight: weight.data, residual: residual.data, ...shape };
      const operands = { x, weight, residual, out: make.out(residual.shape) };
      await sees(
        {
          op: 'conv2d',
          operands,
          attributes: { stride: 1, activation: 'none' },
          expected: () => ({ out: conv2d(given) }),
        },
        {
          'a corner tap of one channel of one output': conv2d({ ...given, weight: without(weight.data, 8) }),
          'a pixel of the residual': conv2d({ ...given, residual: without(residual.data, 29 * O) }),
        },
      );
    });

    it(`see a token and an epsilon that are missing, in ${dtype}`, async () => {
      const make = new Maker(dtype);
      const shape = [1, 300, 32] as const;
      const qkv = make.activation([1, 300, 96]);
      const options = { headDim: 32, order: 'split', epsilon: 1e-15 } as const;
      const last = qkv.data.map((value, i) => (i >= 299 * 96 + 32 ? 0 : value)); // keys and values of the last token
      await sees(
        {
          op: 'linearAttention',
          operands: { qkv, out: make.out(shape) },
          attributes: options,
          expected: () => ({ out: linearAttention(qkv.data, shape, options) }),
        },
        { 'a token': linearAttention(last, shape, options) },
      );
      const x = make.activation([4, 1152]);
      const weight = make.vector([1152]);
      const norm = { epsilon: 1e-5, offset: 0, activation: 'none' } as const;
      await sees(
        {
          op: 'rmsNorm',
          operands: { x, weight, out: make.out(x.shape, { dtype: 'f32' }) },
          attributes: norm,
          expected: () => ({ out: rmsNorm(x.data, weight.data, undefined, undefined, norm) }),
        },
        { 'the epsilon': rmsNorm(x.data, weight.data, undefined, undefined, { ...norm, epsilon: 0 }) },
      );
    });
  }
});
