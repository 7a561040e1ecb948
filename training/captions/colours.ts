/** The backgrounds that have a name, as sRGB bytes: different enough that no two can be confused. */
export const COLOURS = {
  white: [255, 255, 255],
  black: [24, 24, 27],
  gray: [140, 146, 156],
  red: [214, 48, 49],
  orange: [243, 134, 33],
  yellow: [250, 208, 60],
  green: [62, 165, 88],
  teal: [0, 150, 150],
  blue: [45, 105, 205],
  navy: [24, 40, 92],
  purple: [128, 72, 180],
  pink: [244, 154, 192],
} as const satisfies Record<string, readonly [number, number, number]>;

export type Colour = keyof typeof COLOURS;
