// `npm test`: builds, lints and runs all tests that need no GPU, and prints where the time went.
//
//   node scripts/test.mjs [--only lint|cpu|package]... [tests and options of mocha]
//
//   lint     biome, clang-format, types
//   cpu      the build, and every test except those of the package
//   package  the build, and the package as in a release: packed, installed, run
//
// Test files run in parallel, as many as there are processors; those that measure time or memory run alone, after the
// others. Tests that are named, or chosen with -g, run in one process.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { processors, Steps } from './steps.mjs';

// The longest files start first, because the last one to end may run alone.
const longest = ['package/install', 'operators/linear', 'cli/failures', 'docs', 'package/contents', 'networks/bands'];
const alone = ['pipeline/event-loop', 'pipeline/lifecycle', 'binding/run', 'binding/lifecycle'];

const given = process.argv.slice(2);
const chosen = [];
while (given.includes('--only')) {
  const [, name] = given.splice(given.indexOf('--only'), 2);
  if (!['lint', 'cpu', 'package'].includes(name)) {
    console.error(`--only takes one of lint, cpu, package, got ${name}`);
    process.exit(2);
  }
  chosen.push(name);
}
const wanted = (part) => chosen.length === 0 || chosen.includes(part);

const steps = new Steps();
const npm = (name, script) => steps.run(name, 'npm', ['run', script]);
const mocha = (name, ...args) =>
  steps.run(name, join('node_modules', '.bin', 'mocha'), args, { env: { SANA_TEST_DIST: '1' } });

if (wanted('cpu') || wanted('package')) {
  const built = (await npm('build: native', 'build:native')) && (await npm('build: dist', 'build:ts'));
  if (!built) steps.end();
}
if (wanted('lint')) await npm('lint', 'lint');

const file = (name) => join('test', `${name}.test.ts`);
const inPackage = (name) => name.startsWith('package/');
const all = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => name.slice(0, -'.test.ts'.length))
  .sort();
const unknown = [...longest, ...alone].filter((name) => !all.includes(name));
if (unknown.length > 0) throw new Error(`there is no test file ${unknown.join(', ')}`);
const files = all.filter((name) => wanted(inPackage(name) ? 'package' : 'cpu'));
const place = (name) => (longest.includes(name) ? longest.indexOf(name) : longest.length);
const together = files.filter((name) => !alone.includes(name)).sort((a, b) => place(a) - place(b));

if (given.length > 0) {
  const named = given.some((argument) => /\.ts$/.test(argument));
  await mocha('tests', ...(named ? [] : files.map(file)), ...given);
} else {
  const apart = files.filter((name) => alone.includes(name));
  if (together.length > 0) await mocha('tests', '--parallel', '--jobs', `${processors}`, ...together.map(file));
  if (apart.length > 0) await mocha('tests of time and memory', ...apart.map(file));
}
steps.end();
