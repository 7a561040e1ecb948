import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { gzipSync } from 'node:zlib';
import { BUDGET } from './budget.ts';
import { freshFolder, pack, root, run, succeed } from './support.ts';

/** The files below folders of the repository, by their paths in it. */
const inRepository = (...folders: string[]): string[] =>
  folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => posix.join(folder, name))
      .filter((name) => statSync(join(root, name)).isFile()),
  );

describe('the packed package', function () {
  this.timeout(120_000);
  let tarball = '';
  let folder = ''; // where it is unpacked
  let sizes: ReadonlyMap<string, number>;
  const text = (path: string): string => readFileSync(join(folder, path), 'utf8');
  const below = (path: string): string[] => [...sizes.keys()].filter((name) => name.startsWith(`${path}/`));
  const bytes = (paths: readonly string[]): number => paths.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);

  before(async () => {
    const release = await pack();
    tarball = release.tarball;
    sizes = new Map(release.files.map(({ path, size }) => [path, size]));
    const unpacked = freshFolder('contents');
    await succeed(unpacked, 'tar', ['-xzf', tarball], process.env);
    folder = join(unpacked, 'package');
  });

  it('contains the code, its sources, the native sources, the model and the prebuilt addon, and nothing else', () => {
    const top = new Set([...sizes.keys()].map((path) => path.replace(/\/.*/, '/')));
    const folders = ['binding/', 'core/', 'cpu/', 'platform/', 'cuda/', 'dist/', 'lib/', 'models/', 'prebuilds/'];
    assert.deepEqual([...top].sort(), ['CMakeLists.txt', 'LICENSE', 'README.md', ...folders, 'package.json'].sort());

    const sources = inRepository('lib').filter((path) => path.endsWith('.ts'));
    assert.deepEqual(below('lib').sort(), sources.sort());
    const compiled = sources.map((path) => path.replace(/^lib/, 'dist').replace(/\.ts$/, ''));
    // No entry point leads to the types of these.
    const endings = (path: string) =>
      /^dist\/(bench|cli|convert|hub)\//.test(path) ? ['.js', '.js.map'] : ['.js', '.js.map', '.d.ts', '.d.ts.map'];
    const outputs = compiled.flatMap((path) => endings(path).map((ending) => path + ending));
    assert.deepEqual(below('dist').sort(), outputs.sort());

    const native = ['binding', 'core', 'cpu', 'cuda', 'platform'].flatMap(below);
    assert.deepEqual(native.sort(), inRepository('binding', 'core', 'cpu', 'cuda', 'platform').sort());
    for (const path of native) assert.match(path, /(\.(cc|h|cu|cuh|cmake)|\/CMakeLists\.txt)$/);
    assert.deepEqual(below('models').sort(), inRepository('models').sort());
    for (const path of below('prebuilds')) {
      assert.match(path, /^prebuilds\/\w+-\w+\/(sana-native\.node|libsana_cuda\d+\.so)$/);
    }
    assert.ok(sizes.has(`prebuilds/${process.platform}-${process.arch}/sana-native.node`));
  });

  it('has the declarations that the entry points lead to', () => {
    const { exports } = JSON.parse(text('package.json'));
    const waiting = Object.values(exports).flatMap((entry) =>
      typeof entry === 'object' && entry !== null && 'types' in entry ? [posix.normalize(String(entry.types))] : [],
    );
    assert.ok(waiting.length >= 3);
    const found = new Set<string>();
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      if (found.has(path)) continue;
      found.add(path);
      assert.ok(sizes.has(path), path);
      for (const [, imported = ''] of text(path).matchAll(/(?:from |import\(|import )['"](\.[^'"]+)\.js['"]/g)) {
        waiting.push(posix.join(posix.dirname(path), `${imported}.d.ts`));
      }
    }
  });

  it('has everything that package.json names', () => {
    const { exports, bin, types, sideEffects, main } = JSON.parse(text('package.json'));
    const names = (value: unknown): string[] =>
      typeof value === 'string' ? [value] : Object.values(value ?? {}).flatMap(names);
    const named = [exports, bin, types, sideEffects, main].flatMap(names).map((path) => posix.normalize(path));
    assert.ok(named.length >= 9, named.join(', '));
    for (const path of named) assert.ok(sizes.has(path), path);
    assert.match(text(bin['sana-native']), /^#!\/usr\/bin\/env node\n/);
  });

  it('runs no scripts on installation', () => {
    const { scripts } = JSON.parse(text('package.json'));
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
      assert.equal(scripts[name], undefined, name);
    assert.ok(!sizes.has('binding.gyp')); // npm would run node-gyp for it
  });

  it('has maps that lead to the sources, for debuggers, for traces, and for going to a definition', () => {
    const maps = below('dist').filter((path) => path.endsWith('.map'));
    assert.ok(maps.length > 100);
    for (const map of maps) {
      const file = map.slice(0, -'.map'.length);
      assert.ok(
        text(file)
          .trimEnd()
          .endsWith(`//# sourceMappingURL=${posix.basename(map)}`),
        file,
      );
      const { sourceRoot = '', sources } = JSON.parse(text(map));
      assert.equal(sources.length, 1, map);
      for (const source of sources) {
        const path = posix.join(posix.dirname(map), sourceRoot, source);
        assert.ok(path.startsWith('lib/') && sizes.has(path), `${map} names ${path}`);
      }
    }
  });

  it('comes with its licence, and with the credits of the built-in model', () => {
    const { license } = JSON.parse(text('package.json'));
    assert.equal(license, 'Apache-2.0');
    assert.match(text('LICENSE'), /Apache License\s+Version 2\.0/);
    const credits = text('models/sana-tiny/README.md');
    for (const name of ['Microsoft Corporation', 'Google Inc.', 'Miles Johnson']) {
      assert.match(credits, new RegExp(`\\| [^|]*Copyright ${name} \\| (MIT|Apache-2\\.0) \\|`));
    }
  });

  it('keeps its budget', () => {
    const platforms = new Set(below('prebuilds').map((path) => posix.dirname(path)));
    const prebuilds = below('prebuilds');
    const rest = [...sizes.keys()].filter((path) => !prebuilds.includes(path));
    const packedPrebuilds = prebuilds.reduce((sum, path) => sum + gzipSync(readFileSync(join(folder, path))).length, 0);
    const code = below('dist').filter((path) => path.endsWith('.js'));
    const used = {
      packed: statSync(tarball).size - packedPrebuilds,
      unpacked: bytes(rest),
      addon: Math.max(...prebuilds.filter((path) => path.endsWith('.node')).map((path) => sizes.get(path) ?? 0)),
      prebuilds: Math.max(...[...platforms].map((platform) => bytes(below(platform)))),
      code: bytes(code),
      dependencies: Object.keys(JSON.parse(text('package.json')).dependencies).length,
    };
    console.log(`      ${JSON.stringify(used)}`);
    for (const [name, value] of Object.entries(used) as [keyof typeof used, number][]) {
      assert.ok(value > 0 && value <= BUDGET[name], `${name}: ${value}, the budget is ${BUDGET[name]}`);
    }
  });

  describe('as sources of a build of one’s own', () => {
    it('has every file that its native sources include', () => {
      const sources = ['binding', 'cpu', 'cuda'].flatMap(below);
      const includes = sources.flatMap((file) =>
        [...text(file).matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)].map(([, name = '']) => ({ file, name })),
      );
      assert.ok(includes.length > 100);
      for (const { file, name } of includes) {
        const places = [posix.join(posix.dirname(file), name), name]; // beside it, and from the root
        assert.ok(
          places.some((place) => sizes.has(posix.normalize(place))),
          `${file} includes ${name}`,
        );
      }
    });

    it('is configured by CMake', async () => {
      const build = freshFolder('configured');
      await succeed(build, 'cmake', ['-S', folder, '-B', build], process.env);
      const cache = readFileSync(join(build, 'CMakeCache.txt'), 'utf8');
      assert.match(cache, /CMAKE_PROJECT_NAME:STATIC=sana_native/);
    });
  });

  describe('as other tools see it', () => {
    const tool = (name: string, ...args: string[]) =>
      run(root, join(root, 'node_modules/.bin', name), args, process.env);

    it('publint finds nothing to suggest', async () => {
      const { code, stdout, stderr } = await tool('publint', '--strict', tarball);
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /All good!/);
    });

    // An ES module only: whatever Node the package asks for (20.19) can require it, which TypeScript knows as module
    // node20 and nodenext. "Are the types wrong" judges by module node16, that of Nodes which cannot.
    it('its types are not wrong for ES modules and bundlers', async () => {
      const { code, stdout, stderr } = await tool('attw', '--profile', 'esm-only', '--format', 'json', tarball);
      assert.equal(code, 0, stdout + stderr);
      const { analysis } = JSON.parse(stdout);
      const { exports } = JSON.parse(text('package.json'));
      assert.deepEqual(Object.keys(analysis.entrypoints).sort(), Object.keys(exports).sort());
    });
  });
});
