import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SanaError } from '../../lib/base/errors.ts';
import type { Tensor } from '../../lib/checkpoint/tensor-file.ts';
import type { NativeFile } from '../../lib/device/native.ts';
import { type LoraFile, type LoraTargets, readLoraFile } from '../../lib/lora/lora-file.ts';
import { sanaError } from '../support/errors.ts';
import { openFile, temporaryFolder } from '../support/files.ts';
import { type LoraName, loraFile, loraFolder, loraTensors, pairOf, tensor, writeLora } from '../support/loras.ts';
import { mutate, random } from '../support/random.ts';

const q = 'transformer_blocks.0.attn1.to_q';
const out = 'transformer_blocks.0.attn1.to_out.0';
const inverted = 'transformer_blocks.0.ff.conv_inverted';

/** What the tiny model has, in part. */
const modules = [0, 1, 2].flatMap((block) =>
  ['attn1', 'attn2'].flatMap((attention) =>
    ['to_q', 'to_k', 'to_v', 'to_out.0'].map((name) => `transformer_blocks.${block}.${attention}.${name}`),
  ),
);
const targets: LoraTargets = {
  matrices: new Map([...modules.map((name) => [name, { out: 64, in: 64 }] as const), [inverted, { out: 320, in: 64 }]]),
  others: new Map([
    ['transformer_blocks.0.ff.conv_depth', 'a depthwise convolution'],
    ['caption_norm', 'no matrix'],
  ]),
};

/** Everything that counts of a file that was read. */
function content({ deltas }: LoraFile) {
  const sorted = [...deltas].sort((a, b) => (a.module < b.module ? -1 : 1));
  return sorted.map(({ module, rank, factor, down, up }) => ({
    module,
    rank,
    factor,
    down: [...down.read()],
    up: [...up.read()],
  }));
}

describe('a LoRA file', () => {
  const folder = temporaryFolder();
  let written = 0;
  const read = (path: string) => readLoraFile(path, targets, { openFile });
  const write = (tensors: Parameters<typeof writeLora>[1], metadata = {}) =>
    writeLora(join(folder.path, `${written++}.safetensors`), tensors, metadata);
  const readWritten = async (tensors: Parameters<typeof writeLora>[1], metadata = {}) =>
    await read(await write(tensors, metadata));
  const renamed = async (name: LoraName, rename: (key: string) => string) =>
    new Map([...(await loraTensors(name))].map(([key, value]) => [rename(key), value]));

  it('is read as diffusers writes it, alpha from its metadata, and hashed', async () => {
    const file = await read(loraFile('attn'));
    assert.deepEqual(file.deltas.map(({ module }) => module).sort(), [...modules].sort());
    assert.ok(file.deltas.every(({ rank, factor }) => rank === 4 && factor === 2));
    const tensors = await loraTensors('attn');
    const [first] = file.deltas;
    assert.ok(first);
    assert.deepEqual(first.down.read(), tensors.get(`transformer.${first.module}.lora_A.weight`)?.data);
    assert.deepEqual(first.up.read(), tensors.get(`transformer.${first.module}.lora_B.weight`)?.data);
    assert.equal(
      file.sha256,
      createHash('sha256')
        .update(readFileSync(loraFile('attn')))
        .digest('hex'),
    );
    assert.deepEqual(file.warnings, []);
  });

  describe('is found', () => {
    it('in a folder by its usual name, and called after the folder', async () => {
      assert.equal((await read(loraFolder('attn'))).name, 'attn');
      assert.equal((await read(loraFile('attn'))).name, 'attn');
    });

    it('in a folder with no other file, and named after the file', async () => {
      const alone = join(folder.path, 'alone');
      mkdirSync(alone);
      await writeLora(join(alone, 'watercolour.safetensors'), pairOf(q));
      writeFileSync(join(alone, 'README.md'), '');
      assert.equal((await read(alone)).name, 'watercolour');
      await writeLora(join(alone, 'outlines.safetensors'), pairOf(q));
      await assert.rejects(read(alone), (error) => {
        sanaError('ERR_SANA_FILE', 'holds 2 .safetensors files')(error);
        return /"outlines.safetensors"/.test((error as SanaError).hint);
      });
    });

    it('or not: no such file, an empty folder, a folder with a pickle, a link that leads out', async () => {
      await assert.rejects(readLoraFile(join(folder.path, 'missing'), targets), sanaError('ERR_SANA_FILE', 'missing'));
      const empty = join(folder.path, 'empty');
      mkdirSync(empty);
      await assert.rejects(read(empty), sanaError('ERR_SANA_FILE', 'holds no pytorch_lora_weights.safetensors'));
      writeFileSync(join(empty, 'pytorch_lora_weights.bin'), 'x');
      await assert.rejects(read(empty), (error) => /unsupported/.test((error as SanaError).hint));
      symlinkSync(loraFile('attn'), join(empty, 'pytorch_lora_weights.safetensors'));
      await assert.rejects(read(empty), sanaError('ERR_SANA_MODEL', 'leads out of the folder'));
    });
  });

  describe('has keys', () => {
    const styles: readonly [string, (key: string) => string][] = [
      ['with an adapter’s name', (key) => key.replace('.weight', '.default_0.weight')],
      ['without the prefix', (key) => key.replace('transformer.', '')],
      ['of diffusers before PEFT', (key) => key.replace('.lora_A', '.lora.down').replace('.lora_B', '.lora.up')],
      ['of trainers', (key) => key.replace('.lora_A', '.lora_down').replace('.lora_B', '.lora_up')],
      [
        'of attention processors',
        (key) =>
          key
            .replace(/\.(to_[qkv]|to_out)(?:\.0)?\.lora_A/, '.processor.$1_lora.down')
            .replace(/\.(to_[qkv]|to_out)(?:\.0)?\.lora_B/, '.processor.$1_lora.up'),
      ],
      [
        'of kohya',
        (key) =>
          key
            .replace(
              /^transformer\.(.*)\.lora_A/,
              (_, module: string) => `lora_unet_${module.replaceAll('.', '_')}.lora_down`,
            )
            .replace(
              /^transformer\.(.*)\.lora_B/,
              (_, module: string) => `lora_unet_${module.replaceAll('.', '_')}.lora_up`,
            ),
      ],
    ];
    for (const [what, rename] of styles) {
      it(`${what}, which mean the same`, async () => {
        const names = new Set((await renamed('attn', rename)).keys());
        assert.ok(![...names].some((name) => /^transformer\..*\.lora_[AB]\.weight$/.test(name)));
        const expected = content(await readWritten(await loraTensors('attn')));
        assert.deepEqual(content(await readWritten(await renamed('attn', rename))), expected);
      });
    }

    it('of a 1x1 convolution, with its two dimensions and without', async () => {
      const flat = pairOf(inverted, 3, { out: 320, in: 64 });
      const four = Object.entries(flat).map(
        ([key, { shape, data }]) => [key, { shape: [...shape, 1, 1], data }] as const,
      );
      assert.deepEqual(content(await readWritten(new Map(four))), content(await readWritten(flat)));
    });
  });

  describe('has an alpha', () => {
    const one = async (tensors: Record<string, Tensor>, metadata = {}) =>
      (await readWritten({ ...pairOf(q, 4), ...tensors }, metadata)).deltas[0]?.factor;
    const config = (fields: object) =>
      Object.fromEntries(Object.entries({ r: 4, lora_alpha: 8, ...fields }).map(([k, v]) => [`transformer.${k}`, v]));
    const alpha = { [`transformer.${q}.alpha`]: tensor([], () => 6) };

    const cases: readonly [string, number, Record<string, Tensor>, object][] = [
      ['the rank, where nothing says otherwise', 1, {}, {}],
      ['of a tensor beside the pair', 1.5, alpha, {}],
      ['of a tensor of one element', 1.5, { [`transformer.${q}.alpha`]: tensor([1], () => 6) }, {}],
      ['of a tensor rather than of the metadata', 1.5, alpha, config({})],
      ['of the metadata', 2, {}, config({})],
      ['of metadata without a prefix', 2, {}, { r: 4, lora_alpha: 8 }],
      ['not of metadata about another model', 1, {}, { 'text_encoder.r': 4, 'text_encoder.lora_alpha': 8 }],
      ['of a pattern', 3, {}, config({ alpha_pattern: { [q]: 12 } })],
      ['of a pattern for the end of names', 3, {}, config({ alpha_pattern: { 'attn1.to_q': 12 } })],
      ['of a pattern with backslashes', 3, {}, config({ alpha_pattern: { 'attn1\\.to_q': 12 } })],
      ['of the first pattern that matches', 3, {}, config({ alpha_pattern: { to_k: 1, to_q: 12, [q]: 1 } })],
      ['not of a pattern for half a name', 2, {}, config({ alpha_pattern: { o_q: 12, '^to_q': 12 } })],
      ['of a pattern for a whole name', 3, {}, config({ alpha_pattern: { [`^${q}$`]: 12 } })],
      ['divided by the root of the rank', 4, {}, config({ use_rslora: true })],
      ['with the rank of a pattern', 2, {}, config({ r: 16, rank_pattern: { to_q: 4 } })],
      ['that is zero', 0, {}, config({ lora_alpha: 0 })],
    ];
    for (const [what, factor, tensors, metadata] of cases) {
      it(what, async () => assert.equal(await one(tensors, metadata), factor));
    }

    const wrong: readonly [string, object, string][] = [
      ['no alpha', { 'transformer.r': 4 }, '`lora_alpha` nothing'],
      ['an alpha that is no number', config({ lora_alpha: '8' }), '`lora_alpha` "8"'],
      ['another rank', config({ r: 8 }), 'but the metadata says that its rank is 8'],
      ['a rank of zero', config({ r: 0 }), '`r` 0'],
      ['an expression for a pattern', config({ alpha_pattern: { '(a+)+$': 1 } }), 'not expressions such as "(a+)+$"'],
      ['patterns that are no object', config({ rank_pattern: [1] }), '`rank_pattern`'],
      ['a pattern’s value that is none', config({ rank_pattern: { to_q: 1.5 } }), 'a positive integer'],
      ['DoRA', config({ use_dora: true }), '`use_dora` true'],
      ['biases', config({ lora_bias: true }), '`lora_bias` true'],
      ['changed base weights', config({ init_lora_weights: 'pissa_niter_4' }), '`init_lora_weights` "pissa_niter_4"'],
      ['a flag that is none', config({ use_rslora: 1 }), '`use_rslora` 1'],
    ];
    for (const [what, metadata, message] of wrong) {
      it(`or is refused for metadata with ${what}`, async () => {
        await assert.rejects(one({}, metadata), sanaError('ERR_SANA_MODEL', message));
      });
    }

    it('or is rejected for metadata that is not JSON, or too long', async () => {
      for (const text of ['{', '[]', `{"a": "${'x'.repeat(1_000_001)}"}`]) {
        const path = await write(pairOf(q));
        const file = readFileSync(path);
        const length = Number(file.readBigUInt64LE(0));
        const header = JSON.parse(file.toString('utf8', 8, 8 + length));
        const json = Buffer.from(JSON.stringify({ ...header, __metadata__: { lora_adapter_metadata: text } }));
        const start = Buffer.alloc(8);
        start.writeBigUInt64LE(BigInt(json.length));
        writeFileSync(path, Buffer.concat([start, json, file.subarray(8 + length)]));
        await assert.rejects(read(path), sanaError('ERR_SANA_MODEL', 'lora_adapter_metadata'));
      }
    });
  });

  it('may contain tensors that are not used, and reports them', async () => {
    const file = await readWritten({
      ...pairOf(q),
      [`transformer.${q}.dora_scale`]: tensor([64, 1]),
      'text_encoder.layers.0.self_attn.q_proj.lora_A.weight': tensor([2, 8]),
      'lora_te_layers_0.lora_up.weight': tensor([8, 2]),
    });
    assert.deepEqual(
      file.deltas.map(({ module }) => module),
      [q],
    );
    assert.equal(file.warnings.length, 2);
    assert.match(file.warnings[0] ?? '', /^2 tensors for a text encoder/);
    assert.match(file.warnings[1] ?? '', /^1 dora_scale tensors/);
  });

  describe('is rejected by name', () => {
    const [a, b] = [`transformer.${q}.lora_A.weight`, `transformer.${q}.lora_B.weight`];
    const wrong: readonly [string, Record<string, Tensor>, string][] = [
      ['when it is empty', {}, 'holds no LoRA for the transformer'],
      ['with nothing for the transformer', { 'text_encoder.x.lora_A.weight': tensor([1]) }, 'holds no LoRA'],
      ['with half a pair, A', { [a]: tensor([2, 64]) }, `"${a}" has no other half: B [out, r]`],
      ['with half a pair, B', { [b]: tensor([64, 2]) }, `"${b}" has no other half: A [r, in]`],
      ['with an alpha alone', { [`transformer.${q}.alpha`]: tensor([]) }, 'has no other half'],
      ['with a block that is not there', pairOf('transformer_blocks.3.attn1.to_q'), 'transformer_blocks.3.attn1.to_q'],
      ['with a module of another model', pairOf('single_blocks.0.proj'), 'a module that the model does not have'],
      ['with keys of another model', { 'unet.x.lora_A.weight': tensor([1]) }, '"unet.x.lora_A.weight" is for a module'],
      ['with a key of every object', { 'transformer.__proto__.lora_A.weight': tensor([1]) }, '__proto__'],
      ['with a depthwise convolution', pairOf('transformer_blocks.0.ff.conv_depth'), 'is for a depthwise convolution'],
      ['with a norm', pairOf('caption_norm'), 'is for no matrix'],
      ['with another width', pairOf(q, 2, { out: 64, in: 2240 }), `"${a}" is [2, 2240], expected [r, 64]`],
      ['with another height', pairOf(q, 2, { out: 2240, in: 64 }), `"${b}" is [2240, 2], expected [64, 2]`],
      ['with ranks that differ', { [a]: tensor([2, 64]), [b]: tensor([64, 3]) }, 'expected [64, 2]'],
      ['with a rank of zero', { [a]: tensor([0, 64]), [b]: tensor([64, 0]) }, 'expected a rank from 1'],
      ['with a 3x3 convolution', { [a]: tensor([2, 64, 3, 3]), [b]: tensor([64, 2, 1, 1]) }, 'is [2, 64, 3, 3]'],
      ['with a vector', { [a]: tensor([64]), [b]: tensor([64, 2]) }, 'is [64]'],
      ['with an alpha that is a vector', { ...pairOf(q), [`transformer.${q}.alpha`]: tensor([2]) }, 'a single number'],
      ['with a NaN', { [a]: tensor([2, 64], () => Number.NaN), [b]: tensor([64, 2]) }, `"${a}" holds NaN`],
      ['with an infinity', { [a]: tensor([2, 64]), [b]: tensor([64, 2], () => Infinity) }, `"${b}" holds NaN`],
      [
        'with a NaN alpha',
        { ...pairOf(q), [`transformer.${q}.alpha`]: tensor([], () => Number.NaN) },
        'alpha" holds NaN',
      ],
      ['with integers', { [a]: { shape: [2, 64], data: new Int32Array(128) }, [b]: tensor([64, 2]) }, 'is I32'],
      ['with two adapters in it', { ...pairOf(q), [a.replace('.weight', '.b.weight')]: tensor([2, 64]) }, 'same half'],
      ['with DoRA', { ...pairOf(q), [`transformer.${q}.lora_magnitude_vector`]: tensor([64]) }, 'belongs to DoRA'],
      ['with a bias', { ...pairOf(q), [`transformer.${q}.lora_B.bias`]: tensor([64]) }, 'is a bias'],
      ['with LoHa', { [`transformer.${q}.hada_w1_a`]: tensor([64, 2]) }, 'another kind of adapter'],
      [
        'with whole weights',
        { ...pairOf(q), [`transformer.${out}.weight`]: tensor([64, 64]) },
        'is not a weight of a LoRA',
      ],
      ['as PEFT itself saves', { [`base_model.model.${q}.lora_A.weight`]: tensor([2, 64]) }, 'that PEFT itself writes'],
    ];
    for (const [what, tensors, message] of wrong) {
      it(what, async () => {
        const path = await write(tensors);
        await assert.rejects(read(path), sanaError('ERR_SANA_MODEL', path, message));
      });
    }
  });

  it('is read or rejected with a typed error, whatever its bytes are', async () => {
    const next = random(20261126);
    const [whole, small] = [readFileSync(loraFile('attn')), await write(pairOf(q, 4), { r: 4, lora_alpha: 8 })];
    const headerEnd = (bytes: Buffer) => 8 + Number(bytes.readBigUInt64LE(0));
    let good = 0;
    for (let i = 0; i < 1200; i++) {
      const bytes = i % 8 === 0 ? whole : readFileSync(small);
      const end = headerEnd(bytes);
      // Mostly headers, of the length that they then have: the data are only numbers.
      const header = mutate(bytes.subarray(8, end), next);
      const start = Buffer.alloc(8);
      start.writeBigUInt64LE(BigInt(header.length));
      const changed = i % 4 === 3 ? mutate(bytes, next) : Buffer.concat([start, header, bytes.subarray(end)]);
      try {
        await readLoraFile('fuzzed.safetensors', targets, { openFile: () => inMemory(changed) });
        good++;
      } catch (error) {
        assert.ok(error instanceof SanaError, `${i}: ${(error as Error).stack}`);
      }
    }
    assert.ok(good > 20 && good < 1100, `${good} were good`);
  });

  it('reports that it shrank while being read, or that reading was aborted', async () => {
    const path = await write(pairOf(q));
    const shrinking = (at: string): NativeFile => {
      const file = openFile(at);
      truncateSync(at, file.bytes - 100);
      return file;
    };
    await assert.rejects(readLoraFile(path, targets, { openFile: shrinking }), /read \d+ of \d+ bytes/);
    const reason = new Error('stop');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(readLoraFile(loraFile('attn'), targets, { openFile, signal }), reason);
  });
});

function inMemory(bytes: Uint8Array): NativeFile {
  return {
    path: 'fuzzed.safetensors',
    bytes: bytes.length,
    async read(offset, length) {
      assert.ok(offset >= 0 && offset + length <= bytes.length, 'read outside the file');
      return Uint8Array.from(bytes.subarray(offset, offset + length)).buffer;
    },
    close() {},
  };
}
