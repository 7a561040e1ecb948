/**
 * Lanczos resampling of 8-bit pictures, with the arithmetic of Pillow's `Image.resize(size, Image.LANCZOS)`, which the
 * reference's pipelines use to resize a given picture:
 *
 *     w(x) = sinc(x) sinc(x / 3), |x| < 3, stretched by in / out when a side shrinks; at pixel centres, sum 1
 *     coefficients rounded to 22 fractional bits, rows first, 8 bits between the two passes
 *
 * sharp is not used: it enlarges by cubic interpolation between pixel corners, which moves every edge by up to half a
 * pixel.
 */

import type { RawImage } from '../request/types.ts';

const LOBES = 3;
const FRACTION_BITS = 22;
const HALF = 1 << (FRACTION_BITS - 1);
/** Multiplications between turns of the event loop: a few milliseconds. */
const PAUSE = 1 << 21;

/** The input pixels that one output pixel is made from: `coefficients.length` of them from `first` on. */
interface Taps {
  readonly first: number;
  readonly coefficients: Int32Array;
}

/** The picture stretched to width x height. */
export async function resizeLanczos(
  picture: RawImage,
  size: { readonly width: number; readonly height: number },
  signal?: AbortSignal,
): Promise<RawImage> {
  const turn = pauses(signal);
  let { width, height, data } = picture;
  if (size.width !== width) {
    const taps = tapsOf(width, size.width);
    const out = new Uint8Array(size.width * height * 3);
    for (let y = 0; y < height; y++) {
      await turn(3 * size.width * (taps[0]?.coefficients.length ?? 0));
      resizeRow(data.subarray(y * width * 3, (y + 1) * width * 3), out, y * size.width * 3, taps);
    }
    data = out;
    width = size.width;
  }
  if (size.height !== height) {
    const row = width * 3;
    const out = new Uint8Array(row * size.height);
    const sums = new Int32Array(row);
    for (const [y, taps] of tapsOf(height, size.height).entries()) {
      await turn(row * taps.coefficients.length);
      sumRows(data, row, taps, sums);
      for (let i = 0; i < row; i++) out[y * row + i] = toByte(sums[i] as number);
    }
    data = out;
    height = size.height;
  }
  return { width, height, data };
}

/** The taps of every output pixel along one side. */
function tapsOf(from: number, to: number): Taps[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = LOBES * stretch;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => lanczos((first + k - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    const fixed = (weight: number) => Math.trunc((weight / sum) * 2 ** FRACTION_BITS + 0.5 * Math.sign(weight));
    return { first, coefficients: Int32Array.from(weights, fixed) };
  });
}

function lanczos(x: number): number {
  return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

// Every index below is inside its array: the taps of a side are made for its length.

function resizeRow(row: Uint8Array, out: Uint8Array, start: number, taps: readonly Taps[]): void {
  let at = start;
  for (const { first, coefficients } of taps) {
    let [r, g, b] = [HALF, HALF, HALF];
    for (let k = 0; k < coefficients.length; k++) {
      const pixel = 3 * (first + k);
      const c = coefficients[k] as number;
      r += c * (row[pixel] as number);
      g += c * (row[pixel + 1] as number);
      b += c * (row[pixel + 2] as number);
    }
    out[at++] = toByte(r);
    out[at++] = toByte(g);
    out[at++] = toByte(b);
  }
}

function sumRows(data: Uint8Array, row: number, { first, coefficients }: Taps, sums: Int32Array): void {
  sums.fill(HALF);
  for (let k = 0; k < coefficients.length; k++) {
    const start = (first + k) * row;
    const c = coefficients[k] as number;
    for (let i = 0; i < row; i++) sums[i] = (sums[i] as number) + c * (data[start + i] as number);
  }
}

function toByte(sum: number): number {
  return Math.min(255, Math.max(0, sum >> FRACTION_BITS));
}

/** Lets the event loop turn every so often. */
function pauses(signal: AbortSignal | undefined): (work: number) => Promise<void> | undefined {
  let done = 0;
  return (work) => {
    done += work;
    if (done < PAUSE) return undefined;
    done = 0;
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => signal?.throwIfAborted());
  };
}
