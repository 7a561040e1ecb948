/**
 * The reference's method for pictures that do not fit into memory: overlapping tiles, each converted on its own, and
 * blended linearly where they overlap. For comparisons only: attention does not see beyond a tile, so tiles differ in
 * brightness and texture, and their edges are visible. Decoding in bands (lib/networks/bands.ts) has no such edges.
 */

import type { TensorLike } from '../request/types.ts';

/** The side of a tile, and the distance from one tile to the next. */
export interface Tiling {
  readonly size: number;
  readonly stride: number;
}

/** The reference's values, in pixels: its default, and larger tiles for models of 4096 pixels. */
export function referenceTiling(sampleSize: number): Tiling {
  return sampleSize >= 128 ? { size: 1024, stride: 896 } : { size: 512, stride: 448 };
}

/** Whether a map of h x w is cut into tiles at all. */
export function needsTiles(h: number, w: number, { size }: Tiling): boolean {
  return h > size || w > size;
}

/** The tiles along one side: start and length of each. The last ones may be short. */
export function tilesAlong(length: number, { size, stride }: Tiling): { start: number; length: number }[] {
  return Array.from({ length: Math.ceil(length / stride) }, (_, i) => {
    return { start: i * stride, length: Math.min(size, length - i * stride) };
  });
}

/** Planes of numbers, [planes, height, width]: all channels of all pictures. */
interface Planes {
  readonly planes: number;
  readonly height: number;
  readonly width: number;
  readonly data: Float32Array;
}

/**
 * Converts a map in tiles, one after the other, and blends the results.
 *
 * @param input [B, C, h, w]
 * @param tiling in pixels of the input
 * @param scale of the conversion: 32 for decoding, 1/32 for encoding
 * @returns [B, C', scale h, scale w]
 */
export async function convertInTiles(
  input: TensorLike,
  tiling: Tiling,
  scale: number,
  convert: (tile: TensorLike) => Promise<TensorLike>,
): Promise<TensorLike> {
  const [b = 0, c = 0, h = 0, w = 0] = input.shape;
  const source = { planes: b * c, height: h, width: w, data: input.data };
  const overlap = (tiling.size - tiling.stride) * scale;
  const stride = tiling.stride * scale;
  let out: Planes | undefined;
  let above: Planes[] = []; // the row of tiles before this one, blended
  for (const row of tilesAlong(h, tiling)) {
    const blended: Planes[] = [];
    for (const column of tilesAlong(w, tiling)) {
      const data = copyOf(source, row, column);
      const made = await convert({ data, shape: [b, c, row.length, column.length] });
      const tile = planesOf(made);
      const [upper, left] = [above[blended.length], blended.at(-1)];
      if (upper !== undefined) blendRows(upper, tile, Math.min(upper.height, tile.height, overlap));
      if (left !== undefined) blendColumns(left, tile, Math.min(left.width, tile.width, overlap));
      blended.push(tile);
      out ??= {
        planes: tile.planes,
        height: h * scale,
        width: w * scale,
        data: new Float32Array(tile.planes * h * scale * w * scale),
      };
      paste(tile, out, row.start * scale, column.start * scale, stride);
    }
    above = blended;
  }
  const { planes = 0, height = 0, width = 0, data = new Float32Array() } = out ?? {};
  return { data, shape: [b, planes / b, height, width] };
}

function planesOf({ data, shape }: TensorLike): Planes {
  const [b = 0, c = 0, height = 0, width = 0] = shape;
  return { planes: b * c, height, width, data };
}

type Span = ReturnType<typeof tilesAlong>[number];

function copyOf({ planes, height, width, data }: Planes, row: Span, column: Span): Float32Array {
  const tile = new Float32Array(planes * row.length * column.length);
  for (let line = 0; line < planes * row.length; line++) {
    const [plane, y] = [Math.floor(line / row.length), line % row.length];
    const from = (plane * height + row.start + y) * width + column.start;
    tile.set(data.subarray(from, from + column.length), line * column.length);
  }
  return tile;
}

/** At most `stride` rows and columns of a tile: the rest belongs to the next tiles. */
function paste(tile: Planes, out: Planes, top: number, left: number, stride: number): void {
  const [height, width] = [Math.min(stride, tile.height), Math.min(stride, tile.width)];
  for (let plane = 0; plane < tile.planes; plane++) {
    for (let y = 0; y < height; y++) {
      const from = (plane * tile.height + y) * tile.width;
      out.data.set(tile.data.subarray(from, from + width), (plane * out.height + top + y) * out.width + left);
    }
  }
}

/**
 * Blends the first `extent` rows of `tile` with the last rows of `above`. In place; products and sums are rounded to
 * f32.
 */
function blendRows(above: Planes, tile: Planes, extent: number): void {
  for (let plane = 0; plane < tile.planes; plane++) {
    for (let y = 0; y < extent; y++) {
      const from = (plane * above.height + above.height - extent + y) * above.width;
      const to = (plane * tile.height + y) * tile.width;
      for (let x = 0; x < tile.width; x++) mix(above.data, from + x, tile.data, to + x, y / extent);
    }
  }
}

/** The same for columns: blends the first `extent` of `tile` with the last of `left`. */
function blendColumns(left: Planes, tile: Planes, extent: number): void {
  for (let line = 0; line < tile.planes * tile.height; line++) {
    const from = (line + 1) * left.width - extent;
    const to = line * tile.width;
    for (let x = 0; x < extent; x++) mix(left.data, from + x, tile.data, to + x, x / extent);
  }
}

/** to = from (1 - share) + to share */
function mix(from: Float32Array, i: number, to: Float32Array, k: number, share: number): void {
  const kept = Math.fround((from[i] ?? 0) * Math.fround(1 - share));
  to[k] = kept + Math.fround((to[k] ?? 0) * Math.fround(share));
}
