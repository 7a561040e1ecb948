/** Attention. */

import { most } from '../limits.ts';
import {
  activation,
  at,
  choice,
  columnsOf,
  demand,
  demandShape,
  dimension,
  dimensionLimit,
  elementsOf,
  input,
  integer,
  lengths,
  limit,
  listOf,
  number,
  numberOf,
  type OperatorSpec,
  optional,
  output,
} from '../operator.ts';

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

export const attentionOperators = {
  /**
   * Per head, in f32: S = [V; 1] relu(K)^T, then out = (S relu(q))[:D] / ((S relu(q))[D] + epsilon)
   *
   * qkv [B, N, 3C], out [B, N, C]. split: q, k and v are the thirds of the channels, and a head is D channels of each;
   * interleaved: a head is 3D consecutive channels, its q, k and v.
   */
  linearAttention: {
    operands: [input('qkv'), output()],
    attributes: [
      integer('headDim', 1, most('headDim')),
      choice('order', 'HeadOrder', ['split', 'interleaved']),
      number('epsilon', { least: 0 }),
    ],
    inPlace: [],
    limits: [limit('qkv', 'channels', 'channels of each third', (qkv) => columnsOf(qkv) / 3)],
    infer(operands, attributes) {
      const { shape } = at(operands, 'qkv');
      const d = numberOf(attributes, 'headDim');
      const c = columnsOf(at(operands, 'qkv')) / 3;
      demand(shape.length === 3 && Number.isInteger(c / d), operands, `qkv must be [B, N, 3 H ${d}]`);
      return [shape[0] ?? 0, shape[1] ?? 0, c];
    },
    flops: (operands, attributes) => 4 * elementsOf(operands, 'out') * (numberOf(attributes, 'headDim') + 1),
  },

  /**
   * softmax(q k^T * scale) v per head (D = C / heads); batch item b attends to its own lengths[b] text tokens
   *
   * q [B, N, C], k and v [T, C] with the items' tokens concatenated, T = sum(lengths), out [B, N, C]
   */
  crossAttention: {
    operands: [
      input('q', activation, 'pitched'),
      input('k', activation, 'pitched'),
      input('v', activation, 'pitched'),
      output(),
    ],
    attributes: [integer('heads', 1, most('channels')), number('scale'), lengths],
    inPlace: [],
    limits: [
      dimensionLimit('q', -1, 'channels', 'channels'),
      limit('q', 'headDim', 'channels of a head', (q, _, attributes) => columnsOf(q) / numberOf(attributes, 'heads')),
    ],
    sameDtype: [
      ['k', 'q'],
      ['v', 'q'],
    ],
    infer(operands, attributes) {
      const { shape } = at(operands, 'q');
      const tokens = listOf(attributes, 'lengths');
      demand(shape.length === 3 && shape[0] === tokens.length, operands, `q must be [${tokens.length}, N, C]`);
      for (const name of ['k', 'v']) demandShape(operands, name, [sum(tokens), shape[2] ?? 0]);
      demand((shape[2] ?? 0) % numberOf(attributes, 'heads') === 0, operands, 'the heads must divide the channels');
      return shape;
    },
    flops(operands, attributes) {
      const [, n = 0, c = 0] = at(operands, 'q').shape;
      return listOf(attributes, 'lengths').reduce((total, length) => total + 4 * n * length * c, 0);
    },
  },

  /**
   * Causal attention of concatenated sequences (T = sum(lengths)), each preceded by the same prefix.
   * scores = softcap * tanh(q k^T * scale / softcap) (softcap 0: none); a token attends to the last `window` tokens,
   * including itself (0: all); query head h reads key head h * kvHeads / heads.
   *
   * qkv [T, (heads + 2 kvHeads) D] = q | k | v, prefix [P, 2 kvHeads D] = k | v, out [T, heads D]
   */
  causalAttention: {
    operands: [input('qkv', activation, 'pitched'), optional('prefix', activation, 'pitched'), output()],
    attributes: [
      integer('heads', 1, most('channels')),
      integer('kvHeads', 1, most('channels')),
      number('scale'),
      number('softcap', { least: 0 }),
      integer('window', 0, 2 ** 31 - 1),
      lengths,
    ],
    inPlace: [],
    limits: [
      limit(
        'qkv',
        'headDim',
        'channels of a head',
        (qkv, _, attributes) => columnsOf(qkv) / (numberOf(attributes, 'heads') + 2 * numberOf(attributes, 'kvHeads')),
      ),
      limit('qkv', 'channels', 'channels of q', (_, operands) => columnsOf(at(operands, 'out'))),
      dimensionLimit('prefix', 0, 'keys', 'rows'),
    ],
    sameDtype: [['prefix', 'qkv']],
    infer(operands, attributes) {
      const { shape } = at(operands, 'qkv');
      const tokens = sum(listOf(attributes, 'lengths'));
      const heads = numberOf(attributes, 'heads');
      const kvHeads = numberOf(attributes, 'kvHeads');
      const d = (shape[1] ?? 0) / (heads + 2 * kvHeads);
      demand(
        shape.length === 2 && shape[0] === tokens && Number.isInteger(d) && heads % kvHeads === 0,
        operands,
        `qkv must be [${tokens}, (${heads} + 2 * ${kvHeads}) D]`,
      );
      const prefix = operands.prefix;
      if (prefix) demandShape(operands, 'prefix', [prefix.shape[0] ?? 0, 2 * kvHeads * d]);
      return [tokens, heads * d];
    },
    flops(operands, attributes) {
      const prefix = operands.prefix === undefined ? 0 : dimension(operands.prefix, 0);
      const width = columnsOf(at(operands, 'out'));
      return listOf(attributes, 'lengths').reduce(
        (total, length) => total + 4 * width * (length * prefix + (length * (length + 1)) / 2),
        0,
      );
    },
  },
} as const satisfies Record<string, OperatorSpec>;
