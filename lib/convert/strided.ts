/** Elements of a view whose memory is not in row-major order: a transposed matrix, a range of columns. */

/** The strides of a contiguous tensor. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i] ?? 0;
    if (size === 0) return true;
    if (size > 1 && strides[i] !== expected) return false;
    expected *= size;
  }
  return true;
}

/**
 * Copies `count` elements from the row-major `first` on out of `span`, the memory from the view's first element to its
 * last one.
 */
export function gather(
  span: Uint8Array,
  elementBytes: number,
  shape: readonly number[],
  strides: readonly number[],
  first: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(count * elementBytes);
  const rank = shape.length;
  const index = new Array<number>(rank).fill(0);
  let at = 0; // elements from the start of the span
  for (let i = rank - 1, rest = first; i >= 0; i--) {
    const size = shape[i] as number; // i < rank
    index[i] = rest % size;
    rest = Math.floor(rest / size);
    at += (index[i] as number) * (strides[i] as number);
  }
  for (let n = 0; n < count; n++) {
    const from = at * elementBytes;
    for (let byte = 0; byte < elementBytes; byte++) out[n * elementBytes + byte] = span[from + byte] as number; // inside
    for (let i = rank - 1; i >= 0; i--) {
      const stride = strides[i] as number; // i < rank
      const next = (index[i] as number) + 1;
      at += stride;
      index[i] = next;
      if (next < (shape[i] as number)) break;
      at -= next * stride;
      index[i] = 0;
    }
  }
  return out;
}
