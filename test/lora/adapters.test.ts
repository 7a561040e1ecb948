import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { openDevice } from '../../lib/device/devices.ts';
import { Adapters } from '../../lib/lora/adapters.ts';
import { readLoraFile } from '../../lib/lora/lora-file.ts';
import { Merger } from '../../lib/lora/merge.ts';
import { Engine } from '../../lib/models/engine.ts';
import { SanaTransformer } from '../../lib/networks/sana-transformer.ts';
import type { ModelDtype } from '../../lib/networks/weights.ts';
import { CheckpointCopy, elementsOf, weightFiles } from '../support/checkpoints.ts';
import { takesMatrices, testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { temporaryFolder } from '../support/files.ts';
import { loraFile, loraTensors, pairOf, tensor, writeLora } from '../support/loras.ts';
import { tinyModel } from '../support/pipelines.ts';

const dtypes = (['f32', 'bf16', 'f16', 'i8', 'f8'] as const).filter(takesMatrices);

/** A transformer whose packed weights can be looked at. */
class Fixture {
  readonly engine = new Engine(openDevice(testDevice));
  readonly checkpoint: Checkpoint;
  readonly model: SanaTransformer;
  readonly adapters: Adapters;

  private constructor(checkpoint: Checkpoint, dtype: ModelDtype) {
    this.checkpoint = checkpoint;
    this.model = new SanaTransformer(this.engine.device, checkpoint.transformer.config, dtype);
    this.adapters = new Adapters(this.engine, this.model.weights, checkpoint.transformer);
  }

  static async load(dtype: ModelDtype, model = tinyModel): Promise<Fixture> {
    const fixture = new Fixture(await openCheckpoint(model), dtype);
    await fixture.model.weights.load(fixture.checkpoint.transformer);
    return fixture;
  }

  async add(path: string, scale = 1, name = path): Promise<void> {
    this.adapters.add(name, scale, await readLoraFile(path, this.adapters.targets));
  }

  async packed(): Promise<Buffer> {
    const { storage } = this.model.weights;
    return Buffer.from(await this.engine.device.read(storage.buffer, 0, storage.bytes));
  }

  [Symbol.dispose](): void {
    this.model.weights.dispose();
    this.engine.dispose();
    this.checkpoint.close();
  }
}

describe('adapters of a transformer', () => {
  const folder = temporaryFolder();

  it('can change its linear layers and 1x1 convolutions, and nothing else', async () => {
    using tiny = await Fixture.load('f32');
    const { matrices, others } = tiny.adapters.targets;
    assert.deepEqual(matrices.get('transformer_blocks.2.ff.conv_inverted'), { out: 320, in: 64 });
    assert.deepEqual(matrices.get('transformer_blocks.1.attn2.to_v'), { out: 64, in: 64 });
    assert.deepEqual(matrices.get('patch_embed.proj'), { out: 64, in: 32 });
    assert.equal(matrices.size, 3 * 10 + 7);
    assert.equal(others.get('transformer_blocks.0.ff.conv_depth'), 'a depthwise convolution');
    assert.equal(others.get('caption_norm'), 'no matrix');
  });

  for (const dtype of dtypes) {
    describe(`in ${dtype}`, () => {
      it('leave every bit as it was when they are taken out, or have no strength', async () => {
        using tiny = await Fixture.load(dtype);
        const before = await tiny.packed();
        await tiny.add(loraFile('all'));
        await tiny.add(loraFile('attn'), -0.3);
        await tiny.adapters.merge(1);
        const both = await tiny.packed();
        assert.ok(!both.equals(before));
        await tiny.adapters.merge(0.5);
        assert.ok(!(await tiny.packed()).equals(both));
        await tiny.adapters.merge(0);
        assert.ok((await tiny.packed()).equals(before), 'scale 0');
        await tiny.adapters.merge(1);
        assert.ok((await tiny.packed()).equals(both), 'merged again');
        tiny.adapters.remove(loraFile('attn'));
        await tiny.adapters.merge(1);
        tiny.adapters.remove();
        await tiny.adapters.merge(1);
        assert.ok((await tiny.packed()).equals(before), 'taken out');
      });

      it('give the weights of a checkpoint that has the sums in it, rounded once', async () => {
        using copy = new CheckpointCopy();
        // Small powers of two: the product is exact, and the sum is what rounding its exact value to f32 gives.
        const [rank, scale] = [3, 0.5];
        const lora: Record<string, ReturnType<typeof tensor>> = {};
        const modules: string[] = [];
        await copy.changeTensors(weightFiles.transformer, (tensors) => {
          for (const [name, { shape }] of tensors) {
            const module = name.slice(0, -'.weight'.length);
            const [out = 0, columns = 0] = shape;
            if (!/\.(to_[qkv]|to_out\.0|conv_inverted|conv_point)\.weight$/.test(name)) continue;
            modules.push(module);
            const b = tensor([out, rank], (i) => ((i % 5) - 2) / 8);
            const a = tensor([rank, columns], (i) => ((i % 7) - 3) / 16);
            lora[`transformer.${module}.lora_B.weight`] = b;
            lora[`transformer.${module}.lora_A.weight`] = a;
            const w = elementsOf(tensors, name);
            for (let row = 0; row < out; row++) {
              for (let column = 0; column < columns; column++) {
                let sum = 0;
                for (let r = 0; r < rank; r++)
                  sum += (b.data[row * rank + r] ?? 0) * (a.data[r * columns + column] ?? 0);
                w[row * columns + column] = (w[row * columns + column] ?? 0) + scale * sum;
              }
            }
          }
        });
        assert.ok(modules.length > 5);
        using expected = await Fixture.load(dtype, copy.path);
        using merged = await Fixture.load(dtype);
        await merged.add(await writeLora(join(folder.path, `${dtype}.safetensors`), lora), scale);
        await merged.adapters.merge(1);
        assert.ok((await merged.packed()).equals(await expected.packed()));
      });
    });
  }

  it('add up: two of them are one with both side by side', async () => {
    const module = 'transformer_blocks.1.attn1.to_k';
    const [a, b] = [`transformer.${module}.lora_A.weight`, `transformer.${module}.lora_B.weight`];
    const one = pairOf(module, 2);
    const two = { [a]: tensor([1, 64], Math.cos), [b]: tensor([64, 1], (i) => 1 / (i + 1)) };
    const both = {
      [a]: tensor([3, 64], (i) => (i < 128 ? one[a]?.data[i] : two[a]?.data[i - 128]) ?? 0),
      [b]: tensor(
        [64, 3],
        (i) => (i % 3 < 2 ? one[b]?.data[Math.floor(i / 3) * 2 + (i % 3)] : two[b]?.data[Math.floor(i / 3)]) ?? 0,
      ),
    };
    const [first, second, together] = await Promise.all(
      [one, two, both].map((tensors, i) => writeLora(join(folder.path, `sum-${i}.safetensors`), tensors)),
    );
    using separate = await Fixture.load('f32');
    await separate.add(first ?? '');
    await separate.adapters.merge(1); // one after the other: the second merge starts from the checkpoint again
    await separate.add(second ?? '');
    await separate.adapters.merge(1);
    using joined = await Fixture.load('f32');
    await joined.add(together ?? '');
    await joined.adapters.merge(1);
    assert.ok((await separate.packed()).equals(await joined.packed()));
  });

  it('are merged a few rows at a time to the same bits', async () => {
    using tiny = await Fixture.load('bf16');
    await tiny.add(loraFile('all'));
    await tiny.adapters.merge(1);
    const whole = await tiny.packed();
    await tiny.adapters.merge(0);
    const { engine, model, checkpoint } = tiny;
    const merger = new Merger(engine, model.weights, checkpoint.transformer, 4 * 64 * 7 + 3); // 7 of 64 or 320 rows
    const { deltas } = await readLoraFile(loraFile('all'), tiny.adapters.targets);
    const merges = deltas.map((delta) => ({
      name: `${delta.module}.weight`,
      contributions: [{ delta, scale: delta.factor }],
    }));
    for (const merge of merges) await merger.merge(merge);
    assert.ok((await tiny.packed()).equals(whole));
    const calls = deltas.map(({ up }) => Math.ceil(up.read().length / 3 / 7));
    assert.ok(merger.plan(merges).calls.length >= calls.reduce((sum, count) => sum + count, 0));
  });

  it('repair what a failure has left behind', async () => {
    using tiny = await Fixture.load('f32');
    const before = await tiny.packed();
    await tiny.add(loraFile('all'));
    await tiny.adapters.merge(1);
    const merged = await tiny.packed();
    await tiny.adapters.merge(0);

    // Stopped after some matrices, in the middle of one.
    const { engine } = tiny;
    const run = engine.run.bind(engine);
    const reason = new Error('changed my mind');
    const controller = new AbortController();
    let runs = 0;
    engine.run = async (program, signal) => {
      if (++runs === 5) controller.abort(reason);
      await run(program, signal);
    };
    await assert.rejects(tiny.adapters.merge(1, controller.signal), reason);
    engine.run = run;
    const torn = await tiny.packed();
    assert.ok(!torn.equals(before) && !torn.equals(merged));
    await tiny.adapters.merge(1);
    assert.ok((await tiny.packed()).equals(merged));

    // Numbers that overflow, at a scale that no other call has.
    await assert.rejects(
      tiny.adapters.merge(1e45),
      sanaError('ERR_SANA_NUMERICS', 'With the LoRA adapters', 'infinite'),
    );
    await tiny.adapters.merge(1);
    assert.ok((await tiny.packed()).equals(merged));
    await assert.rejects(tiny.adapters.merge(1e45), sanaError('ERR_SANA_NUMERICS'));
    await tiny.adapters.merge(0);
    assert.ok((await tiny.packed()).equals(before));
  });

  it('take no memory once they are merged, and cause an error if memory is too small', async () => {
    using tiny = await Fixture.load('f32');
    const { engine } = tiny;
    await tiny.add(loraFile('all'));
    const before = await tiny.packed();
    const { bytes } = engine.device.memory();
    const explained = tiny.adapters.explain(1);
    engine.device.resetPeak();
    const demand = engine.demandMemory.bind(engine);
    engine.demandMemory = (wanted, what) => demand(wanted + 2 ** 50, what, 'unload');
    await assert.rejects(tiny.adapters.merge(1), sanaError('ERR_SANA_MEMORY', 'Merging the LoRA adapters'));
    engine.demandMemory = demand;
    assert.ok((await tiny.packed()).equals(before));
    assert.equal(engine.device.memory().peakBytes, bytes);
    await tiny.adapters.merge(1);
    assert.equal(engine.device.memory().bytes, bytes);
    assert.equal(engine.device.memory().peakBytes, bytes + (explained?.stateBytes ?? 0));
    assert.equal(tiny.adapters.explain(1), undefined);
    assert.equal(explained?.plan.calls.length, (await loraTensors('all')).size / 2);
  });
});
