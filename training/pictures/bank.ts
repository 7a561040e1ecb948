/** Reads the picture bank that `prepare-data` wrote, and composes pictures from it like training. */

import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The contents of the bank, from `index.json`. */
export interface BankIndex {
  readonly size: number; // pixels of an icon's side
  readonly styles: readonly string[];
  readonly colours: Readonly<Record<string, readonly [number, number, number]>>; // sRGB bytes
  readonly concepts: readonly {
    readonly slug: string;
    readonly name: string;
    readonly heldOut: boolean; // from the autoencoder
    readonly unseenColours: readonly string[]; // of the transformer
  }[];
}

/** The scale of an icon on its background, if the text does not mention its size. */
export const SCALE = 0.86;

export class Bank {
  readonly index: BankIndex;
  readonly #pixels: FileHandle; // [concepts, styles, size, size, 4] premultiplied bytes

  private constructor(index: BankIndex, pixels: FileHandle) {
    this.index = index;
    this.#pixels = pixels;
  }

  static async open(folder: string): Promise<Bank> {
    const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as BankIndex;
    return new Bank(index, await open(join(folder, 'pictures.rgba')));
  }

  /** Premultiplied RGBA of an icon, [size, size, 4]. */
  async icon(concept: number, style: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.index.size ** 2 * 4);
    const place = (concept * this.index.styles.length + style) * bytes.length;
    const { bytesRead } = await this.#pixels.read(bytes, 0, bytes.length, place);
    if (bytesRead !== bytes.length) throw new Error('The picture bank is shorter than its index says');
    return bytes;
  }

  /** An icon on a background, as captions describe it: [3, size, size] in [-1, 1]. */
  async picture(concept: number, style: number, colour: string, place: Placement = CENTRED): Promise<Float32Array> {
    const background = this.index.colours[colour];
    if (background === undefined) throw new Error(`There is no colour ${colour}`);
    return compose(await this.icon(concept, style), this.index.size, background, place);
  }

  async close(): Promise<void> {
    await this.#pixels.close();
  }
}

export interface Placement {
  readonly scale: number; // of the icon, 1 filling the picture
  readonly centre: readonly [x: number, y: number]; // of the icon, 0.5 being the middle
}

const CENTRED: Placement = { scale: SCALE, centre: [0.5, 0.5] };

/** Bilinear, transparent around the icon, like training composes pictures. [3, size, size] in [-1, 1] */
export function compose(
  icon: Uint8Array, // [size, size, 4], premultiplied
  size: number,
  background: readonly [number, number, number], // sRGB bytes
  { scale, centre: [centreX, centreY] }: Placement,
): Float32Array {
  const out = new Float32Array(3 * size * size);
  const plane = size * size;
  // From a pixel of the picture to one of the icon, both measured at their centres.
  const source = (pixel: number, centre: number) => (pixel + 0.5 - centre * size) / scale + size / 2 - 0.5;
  for (let y = 0; y < size; y++) {
    const rows = neighbours(source(y, centreY), size);
    for (let x = 0; x < size; x++) {
      const sum: [number, number, number, number] = [0, 0, 0, 0]; // colour times opacity, and opacity
      for (const [row, rowWeight] of rows) {
        for (const [column, columnWeight] of neighbours(source(x, centreX), size)) {
          const at = (row * size + column) * 4;
          for (let channel = 0; channel < 4; channel++) {
            sum[channel as 0] += rowWeight * columnWeight * (icon[at + channel] ?? 0);
          }
        }
      }
      const rest = 1 - sum[3] / 255;
      for (let channel = 0; channel < 3; channel++) {
        const byte = sum[channel as 0] + rest * background[channel as 0];
        out[channel * plane + y * size + x] = byte / 127.5 - 1;
      }
    }
  }
  return out;
}

/** The pixels on both sides of a place, with their weights; none outside. */
function neighbours(place: number, size: number): (readonly [index: number, weight: number])[] {
  const first = Math.floor(place);
  const part = place - first;
  return (
    [
      [first, 1 - part],
      [first + 1, part],
    ] as const
  ).filter(([index]) => index >= 0 && index < size);
}
