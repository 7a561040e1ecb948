import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/base/package.ts';
import { openDevice } from '../../lib/device/devices.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { memoryModule, modelTables, releasedMemoryFile } from '../../scripts/model-memory.ts';
import { tokenizerFrom, writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import { releasedConfigs } from '../../scripts/random-checkpoint/configs.ts';
import { testDevice } from '../support/device.ts';
import { fixture, temporaryFolder } from '../support/files.ts';
import { limitMemory } from '../support/limited-memory.ts';

describe('the tables of the released models', () => {
  const folder = temporaryFolder();

  it('are those of docs/models.md: if not, run scripts/model-memory.ts', async () => {
    const page = readFileSync(join(packageRoot, 'docs/models.md'), 'utf8');
    const tables = (await modelTables('bf16')).trim().split('\n\n');
    assert.equal(tables.length, 3);
    for (const table of tables) assert.ok(page.includes(`\n\n${table}\n\n`), table.split('\n', 1)[0]);
  });

  it('are those that `sana-native info` reads: if not, run scripts/model-memory.ts --write', async () => {
    const written = readFileSync(releasedMemoryFile, 'utf8');
    const plain = (text: string) => text.replaceAll(/\s|,(?=\s*[\]}])/g, '');
    assert.equal(plain(written), plain(await memoryModule()));
  });

  it('match explain for a checkpoint, with the most memory and with the least', async function () {
    if (testDevice !== 'cpu') this.skip(); // the tables are of the CPU's layouts
    const path = join(folder.path, 'sprint');
    const tokenizer = await tokenizerFrom(fixture('sana-base', 'tokenizer'));
    const configs = releasedConfigs('sprint-0.6b', 1024, 256000);
    await writeRandomCheckpoint(path, { configs, tokenizer, variant: 'none', dtype: 'BF16', hollow: true, seed: 0 });
    const request = { prompt: 'a red fox in snow', width: 512, height: 512, useResolutionBinning: false };
    const lease = openDevice('cpu');
    const peaks: string[] = [];
    for (const offload of ['none', 'sequential'] as const) {
      for (const bytes of [Number.POSITIVE_INFINITY, 0]) {
        const restore = limitMemory(bytes);
        try {
          const { memory } = await SanaPipeline.explain(path, request, { device: 'cpu', dtype: 'bfloat16', offload });
          peaks.push(`${((memory.peakBytes - lease.workspaceBytes) / 1e9).toFixed(2)} GB`);
        } finally {
          restore();
        }
      }
    }
    lease.release();
    const tables = await modelTables('bf16', ({ model }) => model === 'sprint-0.6b', fixture('sana-base', 'tokenizer'));
    const row = tables.split('\n').find((line) => line.includes('512 x 512')) ?? assert.fail();
    assert.ok(row.endsWith(` | ${peaks.join(' | ')} |`), `${row} and ${peaks.join(' | ')}`);
  });
});
