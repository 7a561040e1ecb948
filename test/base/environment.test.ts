import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentVariable, expandVariables, VARIABLES } from '../../lib/base/environment.ts';
import { packageRoot } from '../../lib/base/package.ts';
import { environmentPage } from '../../scripts/generate/environment.ts';

function sourcesIn(folder: string): readonly (readonly [string, string])[] {
  return readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|cc|h|cu|cuh)$/.test(name))
    .map((name) => [join(folder, name), readFileSync(join(packageRoot, folder, name), 'utf8')] as const);
}

describe('environment variables', () => {
  it('are read in one file, and never by native code', () => {
    const readers = ['lib', 'core', 'binding', 'cpu', 'cuda']
      .flatMap(sourcesIn)
      .filter(([, source]) => /process\.env\b|\b(secure_)?getenv\b/.test(source))
      .map(([name]) => name);
    assert.deepEqual(readers, ['lib/base/environment.ts']);
  });

  it('are all used', () => {
    const sources = sourcesIn('lib').filter(([name]) => name !== 'lib/base/environment.ts');
    const source = sources.map(([, text]) => text).join('\n');
    // The library that asks proxies reads these itself.
    const others = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];
    assert(source.includes('EnvHttpProxyAgent'));
    const unused = Object.keys(VARIABLES).filter((name) => !source.includes(`'${name}'`) && !others.includes(name));
    assert.deepEqual(unused, []);
  });

  it('are unset when they are empty', () => {
    assert.equal(environmentVariable('HF_HOME', { HF_HOME: '/cache' }), '/cache');
    assert.equal(environmentVariable('HF_HOME', { HF_HOME: '' }), undefined);
    assert.equal(environmentVariable('HF_HOME', {}), undefined);
  });

  it('stand for themselves in a path', () => {
    const env = { HOME: '/home/fox', EMPTY: '' };
    // biome-ignore lint/suspicious/noTemplateCurlyInString: not a template
    assert.equal(expandVariables('$HOME/a/${HOME}b$EMPTY/$NONE', env), '/home/fox/a//home/foxb/$NONE');
  });

  it('are in docs/environment.md: if not, run `npm run generate`', () => {
    assert.equal(readFileSync(join(packageRoot, 'docs/environment.md'), 'utf8'), environmentPage());
  });
});
