import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import { elementsOf } from '../support/checkpoints.ts';
import { testDevice } from '../support/device.ts';
import { openFile, temporaryFolder } from '../support/files.ts';
import { pictures, small } from '../support/pipelines.ts';
import { tinyCheckpoint } from '../support/random-checkpoints.ts';

const options = { device: testDevice, dtype: 'float32' } as const;
const components = { transformer: 'diffusion_pytorch_model', vae: 'diffusion_pytorch_model', text_encoder: 'model' };

describe('a checkpoint in fp16', () => {
  const folder = temporaryFolder();
  let stored: string; // as F16
  let widened: string; // the same numbers as F32
  before(async () => {
    stored = join(folder.path, 'stored');
    widened = join(folder.path, 'widened');
    await writeRandomCheckpoint(stored, { ...(await tinyCheckpoint()), variant: 'fp16', seed: 3 });
    await writeRandomCheckpoint(widened, { ...(await tinyCheckpoint()), variant: 'none', seed: 3 });
    for (const [component, stem] of Object.entries(components)) {
      const tensors = await readTensors(join(stored, component, `${stem}.fp16.safetensors`), openFile);
      await writeSafetensors(join(widened, component, `${stem}.safetensors`), tensors);
    }
  });

  const draw = async (path: string, offload: 'none' | 'sequential' = 'none') => {
    await using pipe = await SanaPipeline.fromPretrained(path, { ...options, offload });
    return pictures(await pipe.generate(small));
  };

  it('draws what the same numbers in f32 draw', async () => {
    const [expected] = await draw(widened);
    for (const offload of ['none', 'sequential'] as const) assert.deepEqual(await draw(stored, offload), [expected]);
    await using pipe = await SanaPipeline.fromPretrained(stored, { ...options, variant: 'fp16' });
    assert.deepEqual(pictures(await pipe.generate(small)), [expected]);
  });

  it('has its attention clipped as in training, from the first call on, whenever its weights are loaded', async () => {
    const file = join(widened, 'transformer/diffusion_pytorch_model.safetensors');
    const tensors = await readTensors(file, openFile);
    const values = elementsOf(tensors, 'transformer_blocks.0.attn1.to_v.weight');
    for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * 2 ** 24; // far beyond 65504 behind to_out
    await writeSafetensors(file, tensors);
    const clipped = await draw(widened);
    assert.deepEqual(await draw(widened, 'sequential'), clipped);
    // One number that is no fp16 number: not of fp16 training, so not clipped.
    const probe = elementsOf(tensors, 'transformer_blocks.0.attn1.to_out.0.weight');
    probe[0] = (probe[0] ?? 0) * (1 + 2 ** -12);
    rmSync(file);
    await writeSafetensors(file, tensors);
    const unclipped = await draw(widened);
    assert.notDeepEqual(unclipped, clipped);
    assert.deepEqual(await draw(widened, 'sequential'), unclipped);
  });
});
