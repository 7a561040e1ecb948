/** How much of a picture is decoded at a time: as much as fits, and no more than it takes to be fast. */

/** What is left to others: the pictures on the host, other programs, and what is allocated meanwhile. */
const reserve = 1 / 8;

/** Rows of a band below which most of the work would be the halo's. */
export const lowestBand = 8;

/** Rows of a band above which more of them save next to no work: the halo is a few in a hundred. */
export const highestBand = 128;

/**
 * Plans without bands when the map is no higher than `highestBand` and that fits into `freeBytes`; else in the tallest
 * bands that are and do, of a half, a quarter, ... of the map. When nothing fits, the plan that needs least: whoever
 * runs it then finds out that memory is short.
 *
 * @param mapRows rows of the map that is cut into bands
 */
export function tallestBands<P extends { readonly bytes: number }>(
  mapRows: number,
  freeBytes: number,
  plan: (bandRows: number | undefined) => P,
): P {
  let best = plan(undefined);
  const isTooMuch = (rows: number) => rows > highestBand || best.bytes > (1 - reserve) * freeBytes;
  for (let rows = mapRows; isTooMuch(rows) && rows > lowestBand; ) {
    rows = Math.max(lowestBand, Math.ceil(rows / 2));
    const lower = plan(rows);
    if (lower.bytes >= best.bytes) break; // from here on, the layers that see the whole map need most
    best = lower;
  }
  return best;
}
