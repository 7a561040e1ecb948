/** Which sizes a model generates, and how its picture gets the requested size. */

import { argumentError, SanaError } from '../base/errors.ts';

/** A height / width ratio, as the reference prints it, with the height and width that belong to it. */
type Bin = readonly [ratio: number, height: number, width: number];

// In pairs and in this order, because the first of two equally close ratios is used.
const BINS_1024: readonly Bin[] = [
  [0.25, 512, 2048],
  [0.28, 512, 1856],
  [0.32, 576, 1792],
  [0.33, 576, 1728],
  [0.35, 576, 1664],
  [0.4, 640, 1600],
  [0.42, 640, 1536],
  [0.48, 704, 1472],
  [0.5, 704, 1408],
  [0.52, 704, 1344],
  [0.57, 768, 1344],
  [0.6, 768, 1280],
  [0.68, 832, 1216],
  [0.72, 832, 1152],
  [0.78, 896, 1152],
  [0.82, 896, 1088],
  [0.88, 960, 1088],
  [0.94, 960, 1024],
  [1, 1024, 1024],
  [1.07, 1024, 960],
  [1.13, 1088, 960],
  [1.21, 1088, 896],
  [1.29, 1152, 896],
  [1.38, 1152, 832],
  [1.46, 1216, 832],
  [1.67, 1280, 768],
  [1.75, 1344, 768],
  [2, 1408, 704],
  [2.09, 1472, 704],
  [2.4, 1536, 640],
  [2.5, 1600, 640],
  [3, 1728, 576],
  [4, 2048, 512],
];

const BINS_2048: readonly Bin[] = [
  [0.25, 1024, 4096],
  [0.26, 1024, 3968],
  [0.27, 1024, 3840],
  [0.28, 1024, 3712],
  [0.32, 1152, 3584],
  [0.33, 1152, 3456],
  [0.35, 1152, 3328],
  [0.4, 1280, 3200],
  [0.42, 1280, 3072],
  [0.48, 1408, 2944],
  [0.5, 1408, 2816],
  [0.52, 1408, 2688],
  [0.57, 1536, 2688],
  [0.6, 1536, 2560],
  [0.68, 1664, 2432],
  [0.72, 1664, 2304],
  [0.78, 1792, 2304],
  [0.82, 1792, 2176],
  [0.88, 1920, 2176],
  [0.94, 1920, 2048],
  [1, 2048, 2048],
  [1.07, 2048, 1920],
  [1.13, 2176, 1920],
  [1.21, 2176, 1792],
  [1.29, 2304, 1792],
  [1.38, 2304, 1664],
  [1.46, 2432, 1664],
  [1.67, 2560, 1536],
  [1.75, 2688, 1536],
  [2, 2816, 1408],
  [2.09, 2944, 1408],
  [2.4, 3072, 1280],
  [2.5, 3200, 1280],
  [2.89, 3328, 1152],
  [3, 3456, 1152],
  [3.11, 3584, 1152],
  [3.62, 3712, 1024],
  [3.75, 3840, 1024],
  [3.88, 3968, 1024],
  [4, 4096, 1024],
];

const scaled = (bins: readonly Bin[], factor: number): readonly Bin[] =>
  bins.map(([ratio, height, width]) => [ratio, height * factor, width * factor]);

const BINS: ReadonlyMap<number, readonly Bin[]> = new Map([
  [16, scaled(BINS_1024, 1 / 2)],
  [32, BINS_1024],
  [64, BINS_2048],
  [128, scaled(BINS_2048, 2)],
]);

export interface Size {
  readonly height: number;
  readonly width: number;
}

/** The size that a model of `sampleSize` (latent pixels per side) generates for a picture of `height` x `width`. */
export function binResolution(sampleSize: number, height: number, width: number): Size {
  const bins = BINS.get(sampleSize);
  if (bins === undefined) {
    throw new SanaError(
      'ERR_SANA_MODEL',
      `There are no resolution bins for a model of sample size ${sampleSize}: only for 16, 32, 64, 128`,
      {
        hint: 'Turn off resolution binning, and use a size in multiples of 32.',
      },
    );
  }
  checkSide('height', height);
  checkSide('width', width);
  const ratio = height / width;
  const distance = (bin: Bin) => Math.abs(bin[0] - ratio);
  const [, binHeight, binWidth] = bins.reduce((best, bin) => (distance(bin) < distance(best) ? bin : best));
  return { height: binHeight, width: binWidth };
}

export interface ResizeCropPlan {
  readonly resizedHeight: number; // at least the requested height
  readonly resizedWidth: number;
  readonly top: number; // first row kept
  readonly left: number; // first column kept
}

/**
 * How a picture of h x w becomes one of H x W: resized to cover it, then cropped around the centre.
 *
 * The reference truncates `h * max(H/h, W/w)`, which for one size in fifty is one below the requested side, and then
 * crops to a picture one pixel high. Here, no side is ever too short.
 */
export function resizeCropPlan(
  height: number,
  width: number,
  wantedHeight: number,
  wantedWidth: number,
): ResizeCropPlan {
  const ratio = Math.max(wantedHeight / height, wantedWidth / width);
  const resizedHeight = Math.max(wantedHeight, Math.trunc(height * ratio));
  const resizedWidth = Math.max(wantedWidth, Math.trunc(width * ratio));
  return {
    resizedHeight,
    resizedWidth,
    top: Math.floor((resizedHeight - wantedHeight) / 2),
    left: Math.floor((resizedWidth - wantedWidth) / 2),
  };
}

function checkSide(name: 'height' | 'width', value: number): void {
  if (!Number.isInteger(value) || value < 1 || value > 65536)
    throw argumentError(name, 'an integer from 1 to 65536', value);
}
