import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadOptions } from '../../lib/index.ts';
import { InstructionCache } from '../../lib/models/instruction-cache.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { CheckpointCopy, weightFiles } from '../support/checkpoints.ts';
import { testDevice } from '../support/device.ts';
import { temporaryFolder } from '../support/files.ts';
import { pictures, small, tinyModel } from '../support/pipelines.ts';

describe('instructions that are kept on disk', () => {
  const folder = temporaryFolder();
  let count = 0;
  const newFolder = () => join(folder.path, `cache-${count++}`);

  /** How often the text encoder ran for one picture of a new pipeline, and the picture. */
  async function draw(instructionCache: string | null, options: LoadOptions = {}, model = tinyModel) {
    const load = { device: testDevice, dtype: 'float32', instructionCache, ...options } as const;
    await using pipe = await SanaPipeline.fromPretrained(model, load);
    const ran = await pipe.profile(small);
    const encoded = ran.filter(({ name }) => name === 'text encoder').length;
    return { encoded, drawn: pictures(await pipe.generate(small)) };
  }

  it('are computed by the first pipeline alone, and the pictures are the same to the byte', async () => {
    const cache = newFolder();
    const without = await draw(null);
    const first = await draw(cache);
    assert.equal(first.encoded, without.encoded);
    const again = await draw(cache);
    assert.equal(again.encoded, without.encoded - 1);
    assert.deepEqual([first.drawn, again.drawn], [without.drawn, without.drawn]);
    assert.equal(readdirSync(cache).length, 1);
    // Other bits are other entries.
    const other = await draw(cache, { dtype: 'bfloat16' });
    assert.equal(other.encoded, without.encoded);
    assert.equal(readdirSync(cache).length, 2);
  });

  it('are computed again if the file is damaged, and the file is repaired', async () => {
    const cache = newFolder();
    const { encoded, drawn } = await draw(cache);
    const [name = ''] = readdirSync(cache);
    const path = join(cache, name);
    const good = readFileSync(path);
    for (const damage of [
      () => {
        const bad = Buffer.from(good);
        bad.writeUInt8((bad.at(-9) ?? 0) ^ 1, bad.length - 9);
        writeFileSync(path, bad);
      },
      () => truncateSync(path, 1000),
      () => writeFileSync(path, ''),
      () => writeFileSync(path, 'no tensors'),
    ]) {
      damage();
      assert.deepEqual(await draw(cache), { encoded, drawn });
      assert.deepEqual(readFileSync(path), good);
    }
    assert.deepEqual(await draw(cache), { encoded: encoded - 1, drawn });
  });

  it('are of one state of the weights', async () => {
    const cache = newFolder();
    using copy = new CheckpointCopy();
    const first = await draw(cache, {}, copy.path);
    assert.equal((await draw(cache, {}, copy.path)).encoded, first.encoded - 1);
    await copy.changeTensors(weightFiles.textEncoder, () => {});
    assert.equal((await draw(cache, {}, copy.path)).encoded, first.encoded);
  });

  it('are not kept if the folder cannot be used', async () => {
    const cache = newFolder();
    writeFileSync(cache, 'a file');
    const { encoded, drawn } = await draw(cache);
    assert.deepEqual(await draw(cache), { encoded, drawn });
    assert.equal(readFileSync(cache, 'utf8'), 'a file');
  });

  it('are not kept for a small text encoder, unless a folder is named', async () => {
    const { XDG_CACHE_HOME } = process.env;
    process.env.XDG_CACHE_HOME = newFolder();
    try {
      await using pipe = await SanaPipeline.fromPretrained(tinyModel, { device: testDevice, dtype: 'float32' });
      await pipe.generate(small);
      assert.equal(existsSync(join(process.env.XDG_CACHE_HOME, 'sana-native', 'instructions')), false);
    } finally {
      if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
    }
  });

  it('leave the folder when there are too many, those that were not used for longest first', async () => {
    const path = newFolder();
    mkdirSync(path);
    const cache = new InstructionCache(path, [join(tinyModel, 'model_index.json')], 'test', 4500);
    const kept = { keysValues: new Uint8Array(1000).fill(7), first: new Float32Array([1, 2]) };
    const find = (id: number) => cache.find([id], 1000, 2);
    for (const id of [1, 2]) {
      await cache.keep([id], kept);
      for (const name of readdirSync(path)) utimesSync(join(path, name), 1000 + id, 1000 + id);
    }
    assert.deepEqual(await find(1), kept); // now it is the one used last
    await cache.keep([3], kept);
    await cache.keep([4], kept);
    assert.equal(await find(2), undefined);
    for (const id of [1, 3, 4]) assert.deepEqual(await find(id), kept);
    // Of other sizes it is no match.
    assert.equal(await cache.find([1], 999, 2), undefined);
    assert.equal(await cache.find([1], 1000, 3), undefined);
  });
});
