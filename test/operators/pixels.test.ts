import { pixelShuffle, pixelUnshuffle, resizeCrop, toRgb8 } from '../reference/vector.ts';
import { type Maker, roundToBf16 } from '../support/operands.ts';
import { type Example, testOperator } from '../support/operators.ts';

type Image = readonly [batch: number, height: number, width: number, channels: number];

interface ShuffleCase {
  readonly x: Image;
  readonly channels: number; // of the output
  readonly factor?: number;
  readonly residual?: boolean;
  readonly mixed?: boolean; // out and residual are of the other dtype
}

/** Moving and repeating pixels is exact; only a residual makes a sum, and taking a mean. */
function shuffleExample(make: Maker, c: ShuffleCase, op: 'pixelShuffle' | 'pixelUnshuffle'): Example {
  const { channels, factor = 2 } = c;
  const [b, h, w, i] = c.x;
  const scale = op === 'pixelShuffle' ? factor : 1 / factor;
  const shape: Image = [b, h * scale, w * scale, channels];
  const dtype = c.mixed ? make.other : make.dtype;
  const x = make.activation(c.x);
  const residual = c.residual ? make.activation(shape, { dtype }) : undefined;
  const expected = () =>
    op === 'pixelShuffle'
      ? pixelShuffle(x.data, residual?.data, c.x, channels, factor)
      : pixelUnshuffle(x.data, residual?.data, shape, i, factor);
  const moves = residual === undefined && (op === 'pixelShuffle' || factor * factor * i === channels);
  return {
    op,
    operands: { x, ...(residual && { residual }), out: make.out(shape, { dtype }) },
    attributes: { factor },
    expected: () => ({ out: expected() }),
    items: { count: b },
    ...(moves && { tolerance: 'exact' as const }),
  };
}

testOperator('pixelShuffle', (make) =>
  (
    [
      { x: [1, 3, 4, 1024], channels: 512, residual: true }, // each channel twice
      { x: [1, 5, 3, 32], channels: 1024, factor: 1 }, // the autoencoder's first shortcut
      { x: [2, 4, 5, 512], channels: 128 },
      { x: [1, 6, 5, 12], channels: 3 },
      { x: [1, 1, 1, 1], channels: 1, residual: true },
      { x: [3, 2, 1, 20], channels: 5, residual: true, mixed: true },
      { x: [2, 3, 7, 6], channels: 9, mixed: true },
      { x: [1, 2, 67, 33], channels: 33, factor: 1, residual: true },
      { x: [1, 3, 5, 16], channels: 16, residual: true },
      { x: [2, 3, 3, 24], channels: 24, factor: 1, residual: true, mixed: true },
      { x: [1, 4, 3, 8], channels: 32, factor: 1 },
    ] satisfies readonly ShuffleCase[]
  ).map((c) => shuffleExample(make, c, 'pixelShuffle')),
);

testOperator('pixelUnshuffle', (make) =>
  (
    [
      { x: [1, 6, 4, 256], channels: 512, residual: true }, // the mean of two
      { x: [1, 3, 5, 1024], channels: 32, factor: 1 }, // the autoencoder's last shortcut: the mean of 32
      { x: [2, 4, 8, 128], channels: 512 },
      { x: [1, 10, 6, 3], channels: 12 },
      { x: [1, 2, 2, 1], channels: 1, residual: true },
      { x: [3, 2, 4, 5], channels: 10, residual: true, mixed: true },
      { x: [2, 6, 2, 21], channels: 7, mixed: true },
      { x: [1, 2, 66, 35], channels: 35, factor: 1, residual: true },
      { x: [1, 6, 10, 16], channels: 16, residual: true }, // the mean of a pixel's four
      { x: [2, 3, 3, 48], channels: 24, factor: 1, residual: true, mixed: true },
      { x: [1, 4, 3, 32], channels: 8, factor: 1 },
    ] satisfies readonly ShuffleCase[]
  ).map((c) => shuffleExample(make, c, 'pixelUnshuffle')),
);

interface ResizeCase {
  readonly x: Image;
  readonly resized: readonly [height: number, width: number];
  readonly out: readonly [height: number, width: number];
  readonly mixed?: boolean;
}

function resizeExample(make: Maker, c: ResizeCase): Example {
  const [b, , , channels] = c.x;
  const x = make.activation(c.x);
  const out = make.out([b, ...c.out, channels], c.mixed ? { dtype: make.other } : {});
  return {
    op: 'resizeCrop',
    operands: { x, out },
    attributes: { resizedHeight: c.resized[0], resizedWidth: c.resized[1] },
    expected: () => ({ out: resizeCrop(x.data, c.x, c.resized, c.out) }),
    items: { count: b },
    // Positions are f32: off by some 1e-7 of the side, hence by as much of the step from one pixel to the next.
    tolerance: { maxAbs: 2e-5, relL2: 5e-6 },
  };
}

testOperator('resizeCrop', (make) =>
  (
    [
      { x: [1, 32, 44, 3], resized: [40, 55], out: [40, 48] },
      { x: [1, 33, 21, 3], resized: [33, 21], out: [33, 21] }, // as it is
      { x: [2, 7, 9, 3], resized: [15, 17], out: [12, 17], mixed: true },
      { x: [1, 50, 40, 3], resized: [13, 11], out: [11, 11] },
      { x: [1, 1, 1, 1], resized: [5, 4], out: [3, 4] },
      { x: [3, 2, 5, 7], resized: [2, 64], out: [1, 63], mixed: true },
    ] satisfies readonly ResizeCase[]
  ).map((c) => resizeExample(make, c)),
);

function rgbExample(make: Maker, shape: Image, special: readonly number[] = []): Example {
  const x = make.activation(shape, { scale: 1.3 });
  x.data.set(make.dtype === 'f32' ? special : roundToBf16(special));
  const out = { dtype: 'u8', shape } as const;
  return {
    op: 'toRgb8',
    operands: { x, out },
    expected: () => ({ out: toRgb8(x.data) }),
    items: { count: shape[0] },
    tolerance: 'exact',
  };
}

testOperator('toRgb8', (make) => [
  rgbExample(make, [1, 17, 31, 3]),
  rgbExample(make, [3, 5, 64, 3]),
  rgbExample(make, [1, 1, 1, 3], [1, -1, 0]),
  rgbExample(make, [1, 2, 2, 3], [Number.NaN, 1 / 0, -1 / 0, 1e30, -0, 1e-40, 0.5, -0.5, 1.0001, -1.5, 3, 0.25]),
  // halves between levels: 2 (n + 1/2) / 255 - 1 for even and odd n
  rgbExample(
    make,
    [1, 86, 1, 3],
    Array.from({ length: 255 }, (_, n) => (2 * n + 1) / 255 - 1),
  ),
]);
