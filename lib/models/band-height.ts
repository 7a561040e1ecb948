/** How much of a picture is decoded at a time: as much as fits, but no more than is needed to be fast. */

/** The share that is left for others: the pictures on the host, other programs, and allocations in the meantime. */
const reserve = 1 / 8;

/** Bands lower than this would spend most of their work on the halo. */
export const lowestBand = 8;

/** Bands higher than this save next to no work: the halo is only a few percent. */
export const highestBand = 128;

/**
 * Plans without bands if the map is no higher than `highestBand` and that fits into `freeBytes`; otherwise in the
 * tallest bands that do, of a half, a quarter, ... of the map. If nothing fits, returns the plan that needs least:
 * running it then reports that memory is short.
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
