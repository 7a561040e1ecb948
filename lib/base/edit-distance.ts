/** The edit distance of a typed word from a name. */

/**
 * The number of insertions, deletions and replacements that turn `typed` into `name`, or into a prefix of it, plus one.
 */
export function editDistance(typed: string, name: string): number {
  let row = Array.from({ length: name.length + 1 }, (_, i) => i);
  for (let i = 0; i < typed.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < name.length; j++) {
      const replaced = (row[j] ?? 0) + (typed[i] === name[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return Math.min(row[name.length] ?? 0, Math.min(...row) + 1);
}
