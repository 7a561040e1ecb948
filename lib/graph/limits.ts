/**
 * The limits of the kernels. Recording checks them, so that a model that is too large fails at once, with an error that
 * names the limit. The addon checks them again, with the same numbers: its headers are generated from this table.
 */

export const limits = {
  rank: { most: 4, why: 'dimensions of a tensor' },
  elements: { most: 2 ** 40, why: 'and fewer: sums and products of a few counts fit 64 bits' },
  listLength: { most: 4096, why: 'entries of a list attribute' },
  channels: { most: 16384, why: 'workspaces hold a row of them' },
  headDim: { most: 256, why: 'of attention: workspaces hold a head' },
  keys: { most: 8192, why: 'of one sequence, and of a prefix: workspaces hold the scores of a query' },
  side: { most: 16384, why: 'rows and columns of an image' },
  linearSize: { most: 2 ** 20, why: 'rows and columns of a matrix of weights' },
  quantizedInputs: { most: 2 ** 17, why: 'as many products of two i8 as an i32 holds; f8 needs no more' },
  kernelSize: { most: 15, why: 'rows and columns of a convolution kernel' },
} as const;

export type LimitName = keyof typeof limits;

export function most(name: LimitName): number {
  return limits[name].most;
}
