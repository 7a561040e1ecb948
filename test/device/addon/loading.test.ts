import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/base/package.ts';
import { addonFile } from '../../../lib/device/native.ts';
import { temporaryFolder } from '../../support/files.ts';

const folder = temporaryFolder();
const VARIABLES = /^SANA_NATIVE_/;

/** Runs a program of the package in `root` with those variables: what it prints as JSON, or what it threw. */
function run(program: string, variables: Record<string, string> = {}, root = packageRoot) {
  const inherited = Object.entries(process.env).filter(([name]) => !VARIABLES.test(name));
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', program],
    {
      encoding: 'utf8',
      cwd: root,
      env: { ...Object.fromEntries(inherited), XDG_CACHE_HOME: join(folder.path, 'cache'), ...variables },
    },
  );
  assert.deepEqual([status, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

const LOAD = `
  const { addon, addonFile, nativeLibraries } = await import('./lib/device/native.ts');
  try {
    const backends = addon().listDevices().map(({ backend }) => backend);
    console.log(JSON.stringify({ file: addonFile(), backends, libraries: nativeLibraries() }));
  } catch ({ code, message, hint }) {
    console.log(JSON.stringify({ code, message, hint }));
  }`;

describe('loading the addon', function () {
  this.timeout(60_000);

  it('takes the file that SANA_NATIVE_ADDON names, and no other', () => {
    const text = join(folder.path, 'text.node');
    writeFileSync(text, 'this is no addon, but it is long enough to have a header of a kind, which is not that of one');
    const { code, message, hint } = run(LOAD, { SANA_NATIVE_ADDON: text });
    assert.equal(code, 'ERR_SANA_ADDON');
    assert.ok(message.includes(`\n  ${text}: invalid ELF header`), message);
    assert.match(hint, /damaged/);
    const none = run(LOAD, { SANA_NATIVE_ADDON: join(folder.path, 'none.node') });
    assert.match(none.message, /none\.node: /);
    assert.match(none.hint, /A file is missing/);
    assert.equal(run(LOAD, { SANA_NATIVE_ADDON: addonFile() }).file, addonFile());
  });

  it('falls back on the prebuilt one where the one built here does not work, and names both where neither does', () => {
    const root = join(folder.path, 'package');
    const built = join(root, 'build', 'Release', 'sana_native.node');
    const prebuilt = join(root, 'prebuilds', `${platform()}-${arch()}`, 'sana-native.node');
    for (const file of [built, prebuilt]) mkdirSync(join(file, '..'), { recursive: true });
    cpSync(join(packageRoot, 'lib'), join(root, 'lib'), { recursive: true });
    copyFileSync(join(packageRoot, 'package.json'), join(root, 'package.json'));
    symlinkSync(join(packageRoot, 'node_modules'), join(root, 'node_modules'));

    const bare = run(LOAD, {}, root);
    assert.match(bare.message, /neither prebuilt in prebuilds.* nor compiled/);
    copyFileSync(addonFile(), prebuilt);
    assert.equal(run(LOAD, {}, root).file, prebuilt);
    copyFileSync(addonFile(), built);
    assert.equal(run(LOAD, {}, root).file, built);
    writeFileSync(built, '');
    assert.equal(run(LOAD, {}, root).file, prebuilt);
    writeFileSync(prebuilt, '');
    const { message } = run(LOAD, {}, root);
    for (const file of [built, prebuilt]) assert.ok(message.includes(`${file}: file too short`), message);
  });
});

describe('probing a CUDA library', function () {
  this.timeout(120_000);
  let loads = '';
  let library = '';

  /** A library whose backend does that when it is requested; each time it is opened it adds a line to a file. */
  function build(body: string): void {
    library = join(folder.path, 'libprobed.so');
    const source = join(folder.path, 'probed.c');
    writeFileSync(
      source,
      `#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>
__attribute__((constructor)) static void opened(void) { FILE* f = fopen("${loads}", "a"); fputs("opened\\n", f); fclose(f); }
const void* sana_backend(void) { ${body} }\n`,
    );
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, source]);
  }

  /** What loading with the library gives, and how often it was opened. */
  function load(variables: Record<string, string> = {}) {
    rmSync(loads, { force: true });
    const { libraries, backends } = run(LOAD, { SANA_NATIVE_CUDA: library, ...variables });
    assert.deepEqual(backends, ['cpu']);
    const opened = existsSync(loads) ? readFileSync(loads, 'utf8').split('\n').length - 1 : 0;
    return { problem: String(libraries[0]?.problem), opened };
  }

  before(() => {
    loads = join(folder.path, 'loads');
  });
  beforeEach(() => rmSync(join(folder.path, 'cache'), { recursive: true, force: true }));

  it('protects this process from a crash, reports it, and remembers it', () => {
    build('raise(SIGSEGV); return NULL;');
    const first = load();
    assert.match(first.problem, /^a process that opened it died of SIGSEGV.*update the NVIDIA driver.*PROBE=always/);
    assert.equal(first.opened, 1); // by the child
    assert.deepEqual(load(), { problem: first.problem, opened: 0 });
    assert.equal(load({ SANA_NATIVE_PROBE: 'always' }).opened, 1);
    // Another library is probed again.
    build('abort(); return NULL;');
    assert.match(load().problem, /died of SIGABRT/);
  });

  it('is done once for a library that is safe to open, and not at all if it is disabled', () => {
    build('return NULL;');
    const problem = 'it is not a sana-native backend';
    assert.deepEqual(load(), { problem, opened: 2 });
    assert.deepEqual(load(), { problem, opened: 1 });
    assert.deepEqual(load({ SANA_NATIVE_PROBE: 'always' }), { problem, opened: 2 });
    rmSync(join(folder.path, 'cache'), { recursive: true });
    assert.deepEqual(load({ SANA_NATIVE_PROBE: 'off' }), { problem, opened: 1 });
  });

  it('does without what it remembers where that cannot be read or kept', () => {
    build('return NULL;');
    const cache = join(folder.path, 'cache', 'sana-native');
    mkdirSync(cache, { recursive: true });
    writeFileSync(join(cache, 'probes.json'), '{"a": 1, "b": [');
    assert.equal(load().opened, 2);
    assert.equal(load().opened, 1);
    assert.equal(Object.values(JSON.parse(readFileSync(join(cache, 'probes.json'), 'utf8'))).join(), '');
    rmSync(cache, { recursive: true });
    writeFileSync(cache, 'a file in the place of the folder');
    assert.equal(load().opened, 2);
    assert.equal(load().opened, 2);
    assert.equal(readFileSync(cache, 'utf8'), 'a file in the place of the folder');
  });
});
