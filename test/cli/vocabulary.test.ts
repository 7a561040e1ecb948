import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sanaNative } from '../support/cli.ts';

describe('sana-native vocabulary', () => {
  it('lists what the built-in model draws, as text and as JSON', async () => {
    const text = (await sanaNative(['vocabulary'])).stdout.toString();
    assert.match(text, /^\d+ subjects:\n {2}accordion, /);
    assert.match(text, /styles: fluent, flat, noto\nbackgrounds: white, black/);
    const { subjects } = JSON.parse((await sanaNative(['vocabulary', '--json'])).stdout.toString());
    assert.ok(subjects.includes('smiling cat with heart eyes'));
  });

  it('reports that other models have none', async () => {
    const { code, stderr } = await sanaNative(['vocabulary', '--model', 'test/fixtures/sana-base']);
    assert.equal(code, 2);
    assert.match(stderr, /has no list of what it can draw/);
  });

  it('is what a prompt without a known word is warned with', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sana-vocabulary-'));
    try {
      const draw = (prompt: string) => sanaNative([prompt, '--steps', '1', '-o', join(folder, 'picture.png')]);
      const unknown = await draw('a lighthouse keeper reading');
      assert.equal(unknown.code, 0);
      assert.match(unknown.stderr, /names nothing that this small model knows/);
      assert.equal((await draw('an owl, flat style')).stderr, '');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
