/**
 * Layers that see only a few rows of a map, recorded on one horizontal band of it after another: the intermediates of a
 * band take a fraction of the memory, and the result is the same as from the whole map.
 *
 * The rows that a row of the last output depends on are traced back layer by layer. A band of every map is cut to
 * exactly those rows (rows of a map are a view, so cutting is free). At the true borders of the picture nothing is cut,
 * and the layers' own zero padding is as usual. Inside, a layer also pads its band with zeros, which are wrong there,
 * but they affect only rows that are cut off next.
 */

import type { Graph } from '../graph/graph.ts';
import { columnsOf, reshape, rows, type Tensor } from '../graph/tensor.ts';

/** The rows `first` to `end - 1` of a map. */
export interface Rows {
  readonly first: number;
  readonly end: number;
}

export interface Layer {
  /** x [B, h, w, C] -> [B, scale h, scale w, C'] */
  readonly record: (g: Graph, x: Tensor) => Tensor;
  readonly scale: number;
  /** The input rows that output rows depend on, as if the map had no borders; absent: all there are. */
  readonly needs?: (rows: Rows) => Rows;
  /** Its intermediates are several times as large as its input and output. */
  readonly wide?: boolean;
}

/** A layer that can be recorded in bands. */
export type LocalLayer = Layer & Required<Pick<Layer, 'needs'>>;

export function isLocal(layer: Layer): layer is LocalLayer {
  return layer.needs !== undefined;
}

/** Sees `distance` rows above and below, like a chain of that many 3x3 convolutions. */
export function reaching(distance: number): (rows: Rows) => Rows {
  return ({ first, end }) => ({ first: first - distance, end: end + distance });
}

export function scaleOf(layers: readonly Layer[]): number {
  return layers.reduce((product, { scale }) => product * scale, 1);
}

/** Input rows beyond a band, on either side, that the band's output depends on. */
export function haloOf(layers: readonly LocalLayer[]): number {
  const oneRow = { first: 0, end: scaleOf(layers) };
  const { first, end } = layers.reduceRight((rows, { needs }) => needs(rows), oneRow);
  return Math.max(-first, end - 1);
}

/** Records `layers` on bands of `bandRows` rows of x [B, h, w, C] -> [B, scale h, scale w, C']. */
export function recordInBands(g: Graph, layers: readonly LocalLayer[], x: Tensor, bandRows: number): Tensor {
  const [batch = 0, height = 0, width = 0] = x.shape;
  const scale = scaleOf(layers);
  let out: Tensor | undefined;
  for (let item = 0; item < batch; item++) {
    for (let first = 0; first < height; first += bandRows) {
      const wanted = { first: scale * first, end: scale * Math.min(first + bandRows, height) };
      const band = g.scope(`rows ${wanted.first} to ${wanted.end - 1}`, () => recordBand(g, layers, x, item, wanted));
      out ??= g.empty(band.dtype, [batch, scale * height, scale * width, columnsOf(band)]);
      g.convert(band, { into: cut(out, item, wanted) });
    }
  }
  return out ?? x;
}

/** Rows `wanted` of the output of `layers` on one picture of x, [1, rows, scale w, C']. */
function recordBand(g: Graph, layers: readonly LocalLayer[], x: Tensor, item: number, wanted: Rows): Tensor {
  const [from = wanted, ...to] = needed(layers, wanted, x.shape[1] ?? 0);
  let held = from;
  return layers.reduce(
    (y, { record, scale }, i) => {
      const start = scale * held.first;
      held = to[i] ?? wanted;
      return cut(record(g, y), 0, { first: held.first - start, end: held.end - start });
    },
    cut(x, item, from),
  );
}

/**
 * The rows of every map, starting with the first layer's input of `height` rows, that `wanted` of the last map depend
 * on.
 */
function needed(layers: readonly LocalLayer[], wanted: Rows, height: number): Rows[] {
  return layers.reduceRight<Rows[]>(
    ([rows = wanted, ...rest], { needs }, i) => {
      const { first, end } = needs(rows);
      const last = height * scaleOf(layers.slice(0, i));
      return [{ first: Math.max(0, first), end: Math.min(last, end) }, rows, ...rest];
    },
    [wanted],
  );
}

/** Rows of one picture of a batch, [1, rows, w, C], without a copy. */
function cut(x: Tensor, item: number, { first, end }: Rows): Tensor {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape;
  const lines = rows(reshape(x, [batch * height, width, channels]), item * height + first, end - first);
  return reshape(lines, [1, end - first, width, channels]);
}
