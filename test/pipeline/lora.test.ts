import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GenerateRequest } from '../../lib/index.ts';
import { readGenerationMetadata } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { temporaryFolder } from '../support/files.ts';
import { assertClose, errorOf, GoldenFile, tolerances } from '../support/golden.ts';
import { type LoraName, loraFile, loraFolder, pairOf, tensor, writeLora } from '../support/loras.ts';
import { loadTiny, pictures, small, tinyModel } from '../support/pipelines.ts';

const golden = new GoldenFile('lora');
const reason = new Error('changed my mind');

/** The recorded forward. */
async function forward(pipe: SanaPipeline, loraScale?: number): Promise<Float32Array> {
  const timestep = [...golden.get('in.timestep').data];
  const { data } = await pipe.transformer.forward({
    latents: golden.get('in.latents'),
    timestep,
    embeds: golden.get('in.encoder_hidden_states'),
    mask: golden.get('in.encoder_attention_mask'),
    ...(loraScale !== undefined && { loraScale }),
  });
  return data;
}

const assertOutput = (actual: Float32Array, name: string) =>
  assertClose(actual, golden.get(`output.${name}`).data, tolerances.transformer, name);

describe('LoRA adapters', () => {
  const folder = temporaryFolder();
  let pipe: SanaPipeline;
  let expected: string[];
  before(async () => {
    pipe = await loadTiny();
    expected = await draw();
  });
  after(() => pipe.dispose());
  afterEach(async () => {
    await pipe.unloadLora();
    assert.deepEqual(pipe.loras, []);
  });

  const draw = async (request: Partial<GenerateRequest> = {}, using = pipe) =>
    pictures(await using.generate({ ...small, ...request }));

  for (const name of ['attn', 'all'] as const satisfies readonly LoraName[]) {
    it(`give what the reference gives: ${name}, weaker for one call, and stronger for all`, async () => {
      const base = await forward(pipe);
      assertOutput(base, 'base');
      const loaded = await pipe.loadLora(loraFolder(name));
      assert.equal(loaded.name, name);
      assert.deepEqual(loaded.warnings, []);
      assertOutput(await forward(pipe), name);
      assertOutput(await forward(pipe, 0.5), `${name}.scale0.5`);
      assertOutput(await forward(pipe), name);
      assert.deepEqual(await forward(pipe, 0), base);
      await pipe.unloadLora(name);
      assert.deepEqual(await forward(pipe), base);
      await pipe.loadLora(loraFile(name), { scale: 1.7 });
      assertOutput(await forward(pipe), `${name}.weight1.7`);
      assert.ok(errorOf(base, golden.get(`output.${name}`).data).relL2 > 1e-2, 'it matters');
    });
  }

  it('in bfloat16 are as near to the reference as the model without them', async () => {
    await using bf16 = await loadTiny({ dtype: 'bfloat16' });
    const without = errorOf(await forward(bf16), golden.get('output.base').data).relL2;
    await bf16.loadLora(loraFolder('all'));
    const { relL2 } = errorOf(await forward(bf16), golden.get('output.all').data);
    assert.ok(relL2 < 1.5 * without, `${relL2}, ${without} without`);
  });

  it('leave the same pictures, byte for byte, when they are taken out', async () => {
    await pipe.loadLora(loraFolder('attn'));
    const one = await draw();
    await pipe.loadLora(loraFolder('all'), { scale: 0.4 });
    const both = await draw();
    assert.equal(new Set([...expected, ...one, ...both]).size, 3);
    assert.deepEqual(await draw({ loraScale: 0 }), expected);
    assert.deepEqual(await draw(), both);
    await pipe.unloadLora('all');
    assert.deepEqual(await draw(), one);
    await pipe.unloadLora();
    assert.deepEqual(await draw(), expected);
  });

  for (const offload of ['text-encoder', 'sequential'] as const) {
    it(`are merged again into weights that are loaded again: offload '${offload}'`, async () => {
      await pipe.loadLora(loraFolder('all'));
      const [merged, half] = [await draw(), await draw({ loraScale: 0.5 })];
      await using other = await loadTiny({ offload });
      await other.loadLora(loraFolder('all'));
      for (let i = 0; i < 2; i++) {
        assert.deepEqual(await draw({}, other), merged);
        assert.deepEqual(await draw({ loraScale: 0.5 }, other), half);
      }
      await other.unloadLora('all');
      assert.deepEqual(await draw({}, other), expected);
    });
  }

  it('are loaded and taken out between the calls around them, in order', async () => {
    const results = await Promise.all([
      draw(),
      pipe.loadLora(loraFolder('attn')).then(() => []),
      draw(),
      draw({ loraScale: 0.5 }),
      draw(),
      pipe.unloadLora('attn').then(() => []),
      draw(),
    ]);
    const [before, , one, half, again, , after] = results;
    assert.deepEqual(before, expected);
    assert.deepEqual(after, expected);
    assert.deepEqual(again, one);
    assert.equal(new Set([...expected, ...(one ?? []), ...(half ?? [])]).size, 3);
  });

  it('are in the metadata of the pictures', async () => {
    const { images } = await pipe.generate(small);
    assert.ok(!('loras' in (images[0]?.parameters ?? {})));
    await pipe.loadLora(loraFolder('attn'), { scale: 0.75, name: 'ink, wash' });
    const [image] = (await pipe.generate({ ...small, loraScale: 0.5 })).images;
    const made = await readGenerationMetadata((await image?.toBuffer('png')) ?? '');
    const sha256 = createHash('sha256')
      .update(readFileSync(loraFile('attn')))
      .digest('hex');
    assert.deepEqual(made?.loras, [{ name: 'ink, wash', scale: 0.75, sha256 }]);
    assert.equal(made?.loraScale, 0.5);
    assert.deepEqual(pipe.loras, made?.loras);
  });

  it('are explained: the memory of merging, to the byte, if there is something to merge', async () => {
    const names = async (request: Partial<GenerateRequest> = {}, using = pipe) =>
      (await using.explain({ ...small, ...request })).stages.map(({ name }) => name);
    await pipe.loadLora(loraFolder('all'));
    assert.ok(!(await names()).includes('lora_merge'));
    assert.ok((await names({ loraScale: 2 })).includes('lora_merge'));
    await using sequential = await loadTiny({ offload: 'sequential', threads: 1 }); // on a device of its own
    // Of a rank at which merging takes more than anything else.
    const size = { out: 384, in: 64 };
    await sequential.loadLora(
      await writeLora(join(folder.path, 'wide.safetensors'), pairOf('time_embed.linear', 8000, size)),
    );
    assert.ok((await names({}, sequential)).includes('lora_merge'));
    const { memory } = await sequential.explain(small);
    // The same without loading weights, for adapters that are named beforehand.
    const loras = [{ path: join(folder.path, 'wide.safetensors') }];
    const load = { device: testDevice, dtype: 'float32', offload: 'sequential', threads: 1, loras } as const;
    assert.deepEqual((await SanaPipeline.explain(tinyModel, small, load)).memory, memory);
    assert.equal((await sequential.generate(small)).memory.peakBytes, memory.peakBytes);
  });

  it('are not changed by a load that fails', async () => {
    await pipe.loadLora(loraFolder('attn'));
    const one = await draw();
    const wrong = await writeLora(join(folder.path, 'wrong.safetensors'), pairOf('transformer_blocks.9.attn1.to_q'));
    await assert.rejects(pipe.loadLora(wrong), sanaError('ERR_SANA_MODEL', 'transformer_blocks.9'));
    const huge = await writeLora(join(folder.path, 'huge.safetensors'), {
      'transformer.proj_out.lora_A.weight': tensor([1, 64], () => 1e30),
      'transformer.proj_out.lora_B.weight': tensor([32, 1], () => 1e30),
    });
    await assert.rejects(pipe.loadLora(huge), sanaError('ERR_SANA_NUMERICS', 'proj_out.weight'));
    await assert.rejects(pipe.loadLora(join(folder.path, 'none')), sanaError('ERR_SANA_FILE'));
    await assert.rejects(pipe.loadLora(loraFolder('attn')), sanaError('ERR_SANA_ARGUMENT', "got 'attn'"));
    await assert.rejects(
      pipe.loadLora(loraFolder('all'), { name: 'attn' }),
      sanaError('ERR_SANA_ARGUMENT', "got 'attn'"),
    );
    await assert.rejects(pipe.loadLora(loraFolder('all'), { signal: AbortSignal.abort(reason) }), reason);
    await pipe.loadLora(huge, { scale: 1e-30 });
    await assert.rejects(draw({ loraScale: 1e30 }), sanaError('ERR_SANA_NUMERICS'));
    await pipe.unloadLora('huge');
    assert.deepEqual(
      pipe.loras.map(({ name }) => name),
      ['attn'],
    );
    assert.deepEqual(await draw(), one);
  });

  it('are rejected with invalid arguments, before any work', async () => {
    const argument = (...parts: string[]) => sanaError('ERR_SANA_ARGUMENT', ...parts);
    await assert.rejects(pipe.loadLora(''), argument('`path`'));
    await assert.rejects(pipe.loadLora(7 as unknown as string), argument('`path`'));
    const options: readonly [object, string][] = [
      [{ scale: '1' }, '`scale`'],
      [{ scale: Number.NaN }, '`scale`'],
      [{ name: '' }, '`name`'],
      [{ name: 'a\nb' }, '`name`'],
      [{ name: 'x'.repeat(101) }, '`name`'],
      [{ weight: 1 }, '`weight`'],
      [{ signal: {} }, '`signal`'],
    ];
    for (const [wrong, name] of options) await assert.rejects(pipe.loadLora(loraFolder('attn'), wrong), argument(name));
    await assert.rejects(pipe.unloadLora('ink'), argument("got 'ink'"));
    await assert.rejects(draw({ loraScale: 1 }), argument('`loraScale` cannot be used here'));
    await assert.rejects(pipe.explain({ ...small, loraScale: 1 }), argument('`loraScale` cannot be used here'));
    await assert.rejects(forward(pipe, Number.NaN), argument('`loraScale`'));
  });

  it('of a disposed pipeline are rejected', async () => {
    const other = await loadTiny();
    await other.loadLora(loraFolder('attn'));
    await other.dispose();
    await assert.rejects(other.loadLora(loraFolder('all')), sanaError('ERR_SANA_DISPOSED'));
    await assert.rejects(other.unloadLora(), sanaError('ERR_SANA_DISPOSED'));
  });
});
