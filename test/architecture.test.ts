import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { packageRoot } from '../lib/base/package.ts';

/** The rows of the table in docs/architecture.md: each place, and the places that it may import. */
function layers(): Map<string, readonly string[]> {
  const page = readFileSync(join(packageRoot, 'docs/architecture.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([^`]+)` \|.*\|([^|]*)\|$/gm)];
  const named = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
  return new Map(rows.map(([, place = '', imports = '']) => [place, named(imports)]));
}

/** Every source file with the files that it imports or includes, both relative to the package. */
function imports(): Map<string, readonly string[]> {
  const files = ['lib', 'core', 'platform', 'binding', 'cpu', 'cuda'].flatMap(sourcesIn);
  return new Map(
    files.map((file) => {
      const text = readFileSync(join(packageRoot, file), 'utf8');
      const found = file.startsWith('lib/')
        ? [...text.matchAll(/^(?:import|export) [^;]*?'(\.[^']+)';$/gm)].map(([, path = '']) =>
            relative(packageRoot, join(packageRoot, dirname(file), path)),
          )
        : [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, path = '']) => path);
      return [file, found];
    }),
  );
}

function sourcesIn(folder: string): string[] {
  const path = join(packageRoot, folder);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return [];
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|h|cc|cu|cuh)$/.test(name))
    .map((name) => join(folder, name));
}

describe('the layers of docs/architecture.md', () => {
  const table = layers();
  const graph = imports();
  /** The place that a file belongs to: the row with the longest path that it starts with. */
  const placeOf = (file: string) =>
    [...table.keys()]
      .filter((place) => file === place || file.startsWith(place))
      .sort((a, b) => b.length - a.length)[0];

  it('has a row for every source file', () => {
    assert(graph.size > 200);
    assert.deepEqual(
      [...graph.keys()].filter((file) => placeOf(file) === undefined),
      [],
    );
  });

  it('names every import between two places, and only those there are', () => {
    const used = new Map<string, Set<string>>([...table.keys()].map((place) => [place, new Set()]));
    for (const [file, found] of graph) {
      const place = placeOf(file) ?? '';
      for (const imported of found) {
        const other = placeOf(imported);
        assert(other !== undefined, `${file} imports ${imported}, which is in no row`);
        if (other !== place) used.get(place)?.add(other);
      }
    }
    const sorted = (names: Iterable<string>) => [...names].sort();
    assert.deepEqual(
      Object.fromEntries([...used].map(([place, names]) => [place, sorted(names)])),
      Object.fromEntries([...table].map(([place, names]) => [place, sorted(names)])),
    );
  });

  it('lists a place above those that it imports', () => {
    const order = [...table.keys()];
    for (const [place, names] of table) {
      for (const name of names) assert(order.indexOf(name) > order.indexOf(place), `${place} is not above ${name}`);
    }
  });

  it('has no files that import each other, however indirectly', () => {
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      assert(!path.includes(file), `a cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      if (done.has(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of graph.keys()) visit(file, []);
  });
});
