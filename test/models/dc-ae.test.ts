import assert from 'node:assert/strict';
import { join } from 'node:path';
import { reshape, type Tensor } from '../../lib/graph/tensor.ts';
import { AutoencoderDecoder, AutoencoderEncoder } from '../../lib/models/dc-ae.ts';
import { channelsFirst, channelsLast } from '../../lib/pipeline/layout.ts';
import { type Checkpoint, openCheckpoint } from '../../lib/runtime/checkpoint.ts';
import { runGraph, sharedDevice } from '../support/device.ts';
import {
  assertClose,
  errorOf,
  fixtures,
  type Golden,
  GoldenFile,
  type Tolerance,
  tolerances,
} from '../support/golden.ts';

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

describe('DC-AE', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await openCheckpoint(join(fixtures, 'sana-base'));
  });
  after(() => checkpoint.close());

  async function run(
    model: AutoencoderDecoder | AutoencoderEncoder,
    input: Golden,
    dtype: 'f32' | 'bf16' = 'f32',
  ): Promise<Record<string, Map4>> {
    const others = model instanceof AutoencoderDecoder ? /^encoder\./ : /^decoder\./;
    await model.weights.load(checkpoint.vae, { others });
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
          const image = model.record(g, reshape(from('x', dtype), [b, h, w, c]), observe);
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
});
