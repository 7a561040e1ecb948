import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot, unpacked } from '../lib/base/package.ts';
import { temporaryFolder } from './support/files.ts';

describe('package', () => {
  const folder = temporaryFolder();

  it('finds the unpacked package of an Electron archive', () => {
    const inside = join('node_modules', 'sana-native');
    const archived = join(folder.path, 'app.asar', inside);
    assert.equal(unpacked(archived), archived); // not unpacked
    mkdirSync(join(folder.path, 'app.asar.unpacked', inside), { recursive: true });
    assert.equal(unpacked(archived), join(folder.path, 'app.asar.unpacked', inside));
    assert.equal(unpacked(packageRoot), packageRoot);
  });
});
