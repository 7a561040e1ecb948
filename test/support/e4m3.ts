/**
 * Numbers of eight bits, e4m3, from their definition: a sign, four bits of exponent with bias 7, three of fraction; no
 * infinity. Rounding looks the nearest up among all of them, and knows nothing of how the kernels do it.
 */

/** What each of the 256 codes stands for; NaN for 0x7f and 0xff. */
export const e4m3Values: readonly number[] = Array.from({ length: 256 }, (_, code) => {
  const sign = code < 128 ? 1 : -1;
  const exponent = Math.floor(code / 8) % 16;
  const fraction = (code % 8) / 8;
  if (exponent === 15 && fraction === 7 / 8) return Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -6 : (1 + fraction) * 2 ** (exponent - 7));
});

const positive = e4m3Values.slice(0, 127); // ascending, codes 0 to 0x7e

/** The code of the nearest, halves to the even code; beyond 448 that of 448 with the sign, of NaN 0x7f. */
export function e4m3Code(x: number): number {
  if (Number.isNaN(x)) return 0x7f;
  const size = Math.abs(x);
  let low = 0;
  for (let high = 127; high - low > 1; ) {
    const middle = (low + high) >> 1;
    if ((positive[middle] as number) <= size) low = middle;
    else high = middle;
  }
  const [below, above] = [size - (positive[low] as number), (positive[low + 1] ?? Number.POSITIVE_INFINITY) - size];
  const code = above < below || (above === below && low % 2 === 1) ? low + 1 : low;
  return x < 0 || Object.is(x, -0) ? code + 128 : code;
}
