/**
 * Plain loops in double for the matrix operators: what the kernels of linear, conv2d and upsampleConv2d are held to.
 *
 * Operands hold the very values that the kernels read (already rounded to bf16 where they are bf16). Activations are
 * channels last, weights are in the checkpoint's order: [N, K] and [O, I, kh, kw].
 */

import { e4m3Code, e4m3Values } from '../support/e4m3.ts';

type Numbers = Float32Array | Float64Array;

export type ActivationName = 'none' | 'silu' | 'gelu-tanh' | 'relu';

export function activate(name: ActivationName, x: number): number {
  switch (name) {
    case 'none':
      return x;
    case 'silu':
      return x / (1 + Math.exp(-x));
    case 'gelu-tanh':
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case 'relu':
      return Math.max(0, x);
  }
}

/** An element that is known to be there: every index below is computed from the shapes. */
function at(values: Numbers, index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`element ${index} of ${values.length}`);
  return value;
}

/** What rows are quantised to: integers from -127 to 127, or e4m3. */
export type Quantized = 'i8' | 'f8';

/** Rows of K as numbers of 8 bits, and a scale for each row: in f32, rounded at every step. */
export function quantizeRows(
  x: Numbers,
  K: number,
  to: Quantized = 'i8',
): { values: Float64Array; scales: Float64Array } {
  const most = to === 'i8' ? 127 : 448;
  const nearest = to === 'i8' ? roundHalfEven : (value: number) => e4m3Values[e4m3Code(value)] ?? 0;
  const values = new Float64Array(x.length); // [rows, K]
  const scales = new Float64Array(x.length / K); // [rows]
  for (let row = 0; row < scales.length; ++row) {
    let largest = 0;
    for (let k = 0; k < K; ++k) largest = Math.max(largest, Math.abs(at(x, row * K + k))); // NaN where one is
    const scale = Number.isFinite(largest) ? Math.fround(largest / most) : Number.NaN;
    scales[row] = scale < 2 ** -126 ? 0 : scale;
    const inverse = scale >= 2 ** -126 ? Math.fround(1 / scale) : 0;
    for (let k = 0; k < K; ++k) values[row * K + k] = nearest(Math.fround(at(x, row * K + k) * inverse));
  }
  return { values, scales };
}

function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  return x - down > 0.5 || (x - down === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

export interface LinearReference {
  readonly x: Numbers; // [M, K]
  readonly weight: Numbers; // [N, K]
  readonly bias?: Numbers; // [N]
  readonly gate?: Numbers; // [B, N]: row m takes gate m / (M / B)
  readonly residual?: Numbers; // [M, N]
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly activation?: ActivationName;
  readonly clip?: number; // 0: none
  /** A gatedLinear weight: rows 0..N/2-1 are the gate, the rest what it multiplies. */
  readonly gated?: boolean;
  /** A weight of i8 or f8: x and the weight become that, their products and sums are exact. */
  readonly quantized?: Quantized | undefined;
}

/** clip(activation(x weight^T + bias)) * gate + residual, [M, N]; gated: activation(first half) * second half, [M, N/2]. */
export function linear(p: LinearReference): Float64Array {
  const { M, N, K, activation = 'none', clip = 0 } = p;
  const plain = (values: Numbers) => ({ values, scales: new Float64Array(values.length / K).fill(1) });
  const rows = (values: Numbers) => (p.quantized ? quantizeRows(values, K, p.quantized) : plain(values));
  const [x, weight] = [rows(p.x), rows(p.weight)];
  const product = (m: number, n: number): number => {
    let sum = 0;
    for (let k = 0; k < K; ++k) sum += at(x.values, m * K + k) * at(weight.values, n * K + k);
    return at(x.scales, m) * at(weight.scales, n) * sum;
  };
  if (p.gated) {
    const F = N / 2;
    const out = new Float64Array(M * F); // [M, F]
    for (let m = 0; m < M; ++m) {
      for (let f = 0; f < F; ++f) out[m * F + f] = activate(activation, product(m, f)) * product(m, F + f);
    }
    return out;
  }
  const rowsPerGate = p.gate ? M / (p.gate.length / N) : M;
  const out = new Float64Array(M * N); // [M, N]
  for (let m = 0; m < M; ++m) {
    for (let n = 0; n < N; ++n) {
      let y = activate(activation, product(m, n) + (p.bias ? at(p.bias, n) : 0));
      if (clip > 0) y = Math.min(clip, Math.max(-clip, y));
      if (p.gate) y *= at(p.gate, Math.floor(m / rowsPerGate) * N + n);
      if (p.residual) y += at(p.residual, m * N + n);
      out[m * N + n] = y;
    }
  }
  return out;
}

export interface ConvReference {
  readonly x: Numbers; // [B, H, W, I]
  readonly weight: Numbers; // [O, I, kh, kw]
  readonly bias?: Numbers; // [O]
  readonly residual?: Numbers; // the shape of the result
  readonly B: number;
  readonly height: number;
  readonly width: number;
  readonly I: number;
  readonly O: number;
}

/** activation(conv(x, weight) + bias) + residual, [B, ceil(H / stride), ceil(W / stride), O], zero padding kh/2, kw/2. */
export function conv2d(
  p: ConvReference & {
    readonly kernelHeight: number;
    readonly kernelWidth: number;
    readonly stride: number;
    readonly activation?: ActivationName;
  },
): Float64Array {
  const { B, height, width, I, O, kernelHeight, kernelWidth, stride, activation = 'none' } = p;
  const padY = Math.floor(kernelHeight / 2);
  const padX = Math.floor(kernelWidth / 2);
  const outHeight = Math.ceil(height / stride);
  const outWidth = Math.ceil(width / stride);
  const out = new Float64Array(B * outHeight * outWidth * O); // [B, H', W', O]
  let index = 0;
  for (let b = 0; b < B; ++b) {
    for (let y = 0; y < outHeight; ++y) {
      for (let x = 0; x < outWidth; ++x) {
        for (let o = 0; o < O; ++o, ++index) {
          let sum = p.bias ? at(p.bias, o) : 0;
          for (let ky = 0; ky < kernelHeight; ++ky) {
            const row = y * stride + ky - padY;
            if (row < 0 || row >= height) continue;
            for (let kx = 0; kx < kernelWidth; ++kx) {
              const column = x * stride + kx - padX;
              if (column < 0 || column >= width) continue;
              for (let i = 0; i < I; ++i) {
                sum +=
                  at(p.x, ((b * height + row) * width + column) * I + i) *
                  at(p.weight, ((o * I + i) * kernelHeight + ky) * kernelWidth + kx);
              }
            }
          }
          out[index] = activate(activation, sum) + (p.residual ? at(p.residual, index) : 0);
        }
      }
    }
  }
  return out;
}

/**
 * conv3x3(nearest2x(x), weight) + bias + residual, [B, 2H, 2W, O], as it is written: the image is doubled, then
 * convolved. A bf16 kernel rounds the sums of taps that it multiplies with: compare with that in mind.
 */
export function upsampleConv2d(p: ConvReference): Float64Array {
  const { B, height, width, I } = p;
  const doubled = new Float64Array(B * 2 * height * 2 * width * I); // [B, 2H, 2W, I]
  let index = 0;
  for (let b = 0; b < B; ++b) {
    for (let y = 0; y < 2 * height; ++y) {
      for (let x = 0; x < 2 * width; ++x) {
        const pixel = (b * height + Math.floor(y / 2)) * width + Math.floor(x / 2);
        for (let i = 0; i < I; ++i, ++index) doubled[index] = at(p.x, pixel * I + i);
      }
    }
  }
  return conv2d({ ...p, x: doubled, height: 2 * height, width: 2 * width, kernelHeight: 3, kernelWidth: 3, stride: 1 });
}
