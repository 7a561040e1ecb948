import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { readTensors, type Tensor as StoredTensor } from '../../lib/checkpoint/tensor-file.ts';
import { reshape, type Tensor } from '../../lib/graph/tensor.ts';
import { channelsFirst, channelsLast } from '../../lib/models/channel-order.ts';
import { AutoencoderDecoder, AutoencoderEncoder } from '../../lib/networks/dc-ae.ts';
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import { runGraph, sharedDevice } from '../support/device.ts';
import { temporaryFolder } from '../support/files.ts';
import { assertClose, errorOf, fixtures, GoldenFile, type Tolerance, tolerances } from '../support/golden.ts';
import { Random } from '../support/random.ts';
import { tinyCheckpoint } from '../support/random-checkpoints.ts';

interface Map4 {
  readonly shape: readonly number[]; // NCHW
  readonly data: Float32Array;
}

/** The first `size` rows and columns of every channel. */
function cropped({ shape, data }: Map4, size: number): Map4 {
  const [b = 0, c = 0, h = 0, w = 0] = shape;
  const out: number[] = [];
  for (let plane = 0; plane < b * c; plane++) {
    for (let y = 0; y < Math.min(h, size); y++) {
      out.push(...data.subarray((plane * h + y) * w, (plane * h + y) * w + Math.min(w, size)));
    }
  }
  return { shape: [b, c, Math.min(h, size), Math.min(w, size)], data: Float32Array.from(out) };
}

/** Every second row. */
function evenRows({ shape, data }: Map4): Float32Array {
  const [b = 0, c = 0, h = 0, w = 0] = shape;
  const out: number[] = [];
  for (let row = 0; row < b * c * h; row++) if ((row % h) % 2 === 0) out.push(...data.subarray(row * w, (row + 1) * w));
  return Float32Array.from(out);
}

/** Every pixel doubled both ways. */
function enlarged({ shape, data }: Map4): Map4 {
  const [b = 0, c = 0, h = 0, w = 0] = shape;
  const out = new Float32Array(4 * data.length);
  for (let i = 0; i < out.length; i++) {
    const [row, x] = [Math.floor(i / (2 * w)), i % (2 * w)];
    const [plane, y] = [Math.floor(row / (2 * h)), row % (2 * h)];
    out[i] = data[(plane * h + (y >> 1)) * w + (x >> 1)] ?? 0;
  }
  return { shape: [b, c, 2 * h, 2 * w], data: out };
}

/** A 3x3 convolution with its bias, for one picture. */
function plainConvolution(
  { shape, data }: Map4,
  weights: ReadonlyMap<string, StoredTensor>,
  name: string,
  stride: number,
): Map4 {
  const weight = weights.get(`${name}.weight`) ?? assert.fail(`no ${name}.weight`);
  const bias = weights.get(`${name}.bias`) ?? assert.fail(`no ${name}.bias`);
  const [, c = 0, h = 0, w = 0] = shape;
  const channels = weight.shape[0] ?? 0;
  const [height, width] = [h / stride, w / stride];
  const out = new Float32Array(channels * height * width);
  for (let i = 0; i < out.length; i++) {
    const [o, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    let sum = bias.data[o] ?? 0;
    for (let tap = 0; tap < 9 * c; tap++) {
      const [channel, row, column] = [
        Math.floor(tap / 9),
        y * stride + (Math.floor(tap / 3) % 3) - 1,
        x * stride + (tap % 3) - 1,
      ];
      if (row < 0 || row >= h || column < 0 || column >= w) continue;
      sum += (weight.data[o * 9 * c + tap] ?? 0) * (data[(channel * h + row) * w + column] ?? 0);
    }
    out[i] = sum;
  }
  return { shape: [1, channels, height, width], data: out };
}

describe('DC-AE', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await openCheckpoint(join(fixtures, 'sana-base'));
  });
  after(() => checkpoint.close());

  async function run(
    model: AutoencoderDecoder | AutoencoderEncoder,
    input: Map4,
    dtype: 'f32' | 'bf16' = 'f32',
    from: Checkpoint = checkpoint,
  ): Promise<Record<string, Map4>> {
    const others = model instanceof AutoencoderDecoder ? /^encoder\./ : /^decoder\./;
    await model.weights.load(from.vae, { others });
    const [b = 0, c = 0, h = 0, w = 0] = input.shape;
    const shapes = new Map<string, readonly number[]>();
    try {
      const results = await runGraph(
        { x: { shape: [b, h * w, c], data: channelsLast(input.data, b, c, h * w) } },
        (g, from, output) => {
          const observe = (name: string, tensor: Tensor) => {
            shapes.set(name, tensor.shape);
            output(name, tensor);
          };
          const image = model.record(g, reshape(from('x', dtype), [b, h, w, c]), { observe });
          observe('last', image);
        },
      );
      return Object.fromEntries(
        Object.entries(results).map(([name, { shape, data }]) => {
          const [n = 0, height = 0, width = 0, channels = 0] = shape;
          return [
            name,
            { shape: [n, channels, height, width], data: channelsFirst(data, n, channels, height * width) },
          ];
        }),
      );
    } finally {
      model.weights.dispose();
    }
  }

  it('decodes as the reference does, at every stage, on a map of at most 32 latents', async () => {
    const golden = new GoldenFile('vae_decode');
    const actual = await run(
      new AutoencoderDecoder(sharedDevice(), checkpoint.vae.config, 'f32'),
      golden.get('a.in.z'),
    );
    const stage = (name: string) => actual[name] ?? assert.fail(`no stage ${name}`);
    const close = (map: Map4, name: string, tolerance: Tolerance = tolerances.decodeInner) =>
      assertClose(map.data, golden.get(name).data, tolerance, name);
    // The reference records the convolution; here its shortcut, each latent channel repeated, is part of the operator.
    const z = golden.get('a.in.z').data;
    const convIn = golden.get('a.conv_in').data;
    const pixels = 4 * 6;
    const repeats = convIn.length / z.length;
    const withShortcut = convIn.map((value, i) => {
      const channel = Math.floor(i / pixels / repeats);
      return value + (z[channel * pixels + (i % pixels)] ?? 0);
    });
    assertClose(stage('conv_in').data, withShortcut, tolerances.decodeInner, 'conv_in');
    for (const i of [5, 4, 3, 2]) close(stage(`up_blocks.${i}`), `a.up_block.${i}`);
    for (const i of [1, 0]) close(cropped(stage(`up_blocks.${i}`), 48), `a.up_block.${i}.crop48`);
    close(stage('last'), 'a.image', tolerances.decode);
  });

  it('decodes as the reference does on a larger map of odd sides', async () => {
    const golden = new GoldenFile('vae_decode');
    const actual = await run(
      new AutoencoderDecoder(sharedDevice(), checkpoint.vae.config, 'f32'),
      golden.get('b.in.z'),
    );
    const image = actual.last ?? assert.fail();
    assertClose(evenRows(image), golden.get('b.image.rows2').data, tolerances.decode, 'b.image');
  });

  it('stays within three times the reference’s own bf16 error when it decodes in bf16', async () => {
    const golden = new GoldenFile('vae_decode');
    const actual = await run(
      new AutoencoderDecoder(sharedDevice(), checkpoint.vae.config, 'bf16'),
      golden.get('a.in.z'),
      'bf16',
    );
    const { relL2 } = errorOf(actual.last?.data ?? [], golden.get('a.image').data);
    assert(relL2 <= 3 * 1.2e-2, `rel_l2 ${relL2}`);
  });

  it('encodes as the reference does, at every stage', async () => {
    const golden = new GoldenFile('vae_encode');
    const bytes = golden.get('in.image_u8');
    const image = { shape: bytes.shape, data: bytes.data.map((byte) => Math.fround(byte / 127.5) - 1) };
    const actual = await run(new AutoencoderEncoder(sharedDevice(), checkpoint.vae.config, 'f32'), image);
    const stage = (name: string) => actual[name] ?? assert.fail(`no stage ${name}`);
    assertClose(cropped(stage('down_blocks.0'), 48).data, golden.get('down_block.0.crop48').data, tolerances.encode);
    for (const i of [1, 2, 3, 4, 5]) {
      assertClose(stage(`down_blocks.${i}`).data, golden.get(`down_block.${i}`).data, tolerances.encode, `stage ${i}`);
    }
    assertClose(stage('last').data, golden.get('latent').data, tolerances.encode, 'latent');
  });

  describe('whose first stage has no layers', () => {
    const folder = temporaryFolder();

    it('leaves halving and doubling to the convolutions next to the picture', async () => {
      const { configs, tokenizer } = await tinyCheckpoint();
      const layers = [0, 1, 1, 1, 1, 1];
      const vae = { ...configs.vae, encoder_layers_per_block: layers, decoder_layers_per_block: layers };
      const path = join(folder.path, 'half');
      await writeRandomCheckpoint(path, { configs: { ...configs, vae }, tokenizer, seed: 1, variant: 'none' });
      const weights = await readTensors(join(path, 'vae', 'diffusion_pytorch_model.safetensors'));
      const half = await openCheckpoint(path);
      try {
        const draw = new Random(2);
        const latents = Float32Array.from({ length: 32 * 6 }, () => 2 * draw.next() - 1);
        const decoder = new AutoencoderDecoder(sharedDevice(), half.vae.config, 'f32');
        const decoded = await run(decoder, { shape: [1, 32, 2, 3], data: latents }, 'f32', half);
        const inner = decoded.norm_out ?? assert.fail();
        const image = decoded.last ?? assert.fail();
        assert.deepEqual(inner.shape, [1, 16, 32, 48]);
        assert.deepEqual(image.shape, [1, 3, 64, 96]);
        const last = plainConvolution(enlarged(inner), weights, 'decoder.conv_out.conv', 1);
        assertClose(image.data, last.data, tolerances.decode, 'decoder.conv_out');

        const encoder = new AutoencoderEncoder(sharedDevice(), half.vae.config, 'f32');
        const encoded = await run(encoder, image, 'f32', half);
        const first = plainConvolution(image, weights, 'encoder.conv_in.conv', 2);
        assert.deepEqual(encoded.conv_in?.shape, first.shape);
        assertClose(encoded.conv_in?.data ?? [], first.data, tolerances.encode, 'encoder.conv_in');
        assert.deepEqual(encoded.last?.shape, [1, 32, 2, 3]);
      } finally {
        await half.close();
      }
    });
  });
});
