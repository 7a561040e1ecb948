/**
 * The fixed two-dimensional position embedding of transformers with an `interpolation_scale` (SANA at 2K and 4K;
 * diffusers' `get_2d_sincos_pos_embed`): sines and cosines of a token's column, then of its row.
 *
 * Coordinates are stretched so that each side of any map spans [0, baseSize / interpolationScale): a map of another
 * size or shape than the native one covers the same range, more finely or coarsely.
 */

export interface PositionGrid {
  readonly height: number; // latent pixels
  readonly width: number;
  readonly channels: number; // C, a multiple of 4
  /** Latent pixels per side of the native resolution. */
  readonly baseSize: number;
  readonly interpolationScale: number;
}

const longestWavelength = 10000; // over 2 pi

/** [N, C], token y * width + x: sin and cos of x, sin and cos of y, C / 4 frequencies each. */
export function positionEmbedding({
  height,
  width,
  channels,
  baseSize,
  interpolationScale,
}: PositionGrid): Float32Array {
  const frequencies = channels / 4;
  const omega = Float64Array.from({ length: frequencies }, (_, j) => longestWavelength ** (-j / frequencies));
  const columns = axis(width, omega, baseSize, interpolationScale); // [width, C / 2]
  const rows = axis(height, omega, baseSize, interpolationScale); // [height, C / 2]
  const half = channels / 2;
  const table = new Float32Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const token = (y * width + x) * channels;
      table.set(columns.subarray(x * half, (x + 1) * half), token);
      table.set(rows.subarray(y * half, (y + 1) * half), token + half);
    }
  }
  return table;
}

/** Sines, then cosines of each coordinate, [size, 2 * frequencies]. The reference divides in float32, twice. */
function axis(size: number, omega: Float64Array, baseSize: number, interpolationScale: number): Float32Array {
  const frequencies = omega.length;
  const table = new Float32Array(size * 2 * frequencies);
  for (let i = 0; i < size; i++) {
    const coordinate = Math.fround(Math.fround(i / Math.fround(size / baseSize)) / interpolationScale);
    omega.forEach((frequency, j) => {
      table[2 * i * frequencies + j] = Math.sin(coordinate * frequency);
      table[(2 * i + 1) * frequencies + j] = Math.cos(coordinate * frequency);
    });
  }
  return table;
}
