/** Position and timestep embeddings, and the modulation computed from them. */

import { most } from '../limits.ts';
import {
  activation,
  at,
  columnsOf,
  demand,
  demandShape,
  dimension,
  dimensionLimit,
  elementsOf,
  elementwise,
  input,
  integer,
  limit,
  numberOf,
  type OperatorSpec,
  output,
  vector,
} from '../operator.ts';

export const embeddingOperators = {
  /**
   * Rotates the first `heads` heads of D channels ("rotate half": d pairs with d + D/2), copies the other channels
   *
   * x and out [T, C], cos and sin [T, D/2]
   */
  rotaryEmbedding: {
    operands: [
      input('x', activation, 'pitched'),
      input('cos', vector),
      input('sin', vector),
      output(activation, 'pitched'),
    ],
    attributes: [integer('heads', 1, most('channels'))],
    inPlace: ['x'],
    limits: [
      dimensionLimit('x', 1, 'linearSize', 'channels'),
      limit('cos', 'headDim', 'channels of a head', (cos) => 2 * columnsOf(cos)),
    ],
    infer(operands, attributes) {
      const x = at(operands, 'x');
      const half = dimension(at(operands, 'cos'), 1);
      const angles = [x.shape[0] ?? 0, half];
      demandShape(operands, 'cos', angles);
      demandShape(operands, 'sin', angles);
      demand(
        x.shape.length === 2 && numberOf(attributes, 'heads') * 2 * half <= columnsOf(x),
        operands,
        `x must be [T, C] with at least ${numberOf(attributes, 'heads')} heads of ${2 * half}`,
      );
      return x.shape;
    },
    flops: (operands, attributes) => 6 * numberOf(attributes, 'heads') * elementsOf(operands, 'cos'),
  },

  /**
   * out = [cos(t f) | sin(t f)], f_i = exp(-ln(10000) i / (C/2)) in f32
   *
   * timestep [B], out [B, C]
   */
  timestepEmbedding: {
    operands: [input('timestep', vector), output()],
    attributes: [],
    inPlace: [],
    limits: [dimensionLimit('out', 1, 'channels', 'columns')],
    infer(operands) {
      const [b = 0, c = 0] = at(operands, 'out').shape;
      demandShape(operands, 'timestep', [b]);
      demand(c % 2 === 0, operands, 'out must have an even number of columns');
      return [b, c];
    },
    flops: elementwise(2),
  },

  /**
   * out[r, b] = table[r] + embedding[b, r % rows], with embedding's `rows` rows of C: the shifts, scales and gates of
   * all blocks
   *
   * table [R, C], embedding [B, rows * C], out [R, B, C]
   */
  modulation: {
    operands: [input('table', vector), input('embedding'), output(vector)],
    attributes: [],
    inPlace: [],
    limits: [],
    infer(operands) {
      const table = at(operands, 'table');
      demand(table.shape.length === 2, operands, 'table must be [R, C]');
      const [r = 0, c = 0] = table.shape;
      const embedding = at(operands, 'embedding');
      const rowsOfEmbedding = columnsOf(embedding) / c;
      demand(
        embedding.shape.length === 2 && Number.isInteger(rowsOfEmbedding) && r % rowsOfEmbedding === 0,
        operands,
        `embedding must be [B, rows * ${c}] with rows dividing the table's ${r}`,
      );
      return [r, embedding.shape[0] ?? 0, c];
    },
    flops: elementwise(1),
  },
} as const satisfies Record<string, OperatorSpec>;
