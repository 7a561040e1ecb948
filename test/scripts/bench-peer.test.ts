import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type PeerReference, TorchPeer } from '../../scripts/bench/peer.ts';
import { readSafetensors } from './read-safetensors.ts';

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url));
const golden = (name: string): string => join(fixtures, 'golden', `${name}.safetensors`);

describe('bench peer', () => {
  it('is undefined, with a message, if there is no Python with torch', async () => {
    const { error } = console;
    const said: string[] = [];
    console.error = (text: string) => said.push(text);
    try {
      assert.equal(await TorchPeer.start('/nonexistent/python'), undefined);
      assert.equal(await TorchPeer.start(process.execPath), undefined); // runs, but is no Python
    } finally {
      console.error = error;
    }
    assert.equal(said.length, 2);
    for (const line of said) assert.match(line, /no torch peer: .*SANA_BENCH_PYTHON/);
  });

  describe('with torch', () => {
    let peer: TorchPeer | undefined;
    let folder: string;
    let diffusers = false;
    before(async function () {
      peer = await TorchPeer.start();
      if (!peer) this.skip(); // the reason was printed by start()
      folder = mkdtempSync(join(tmpdir(), 'sana-peer-'));
      diffusers = await peer.diffusersVersion().then(
        () => true,
        ({ message }) => assert.match(message, /ModuleNotFoundError|PackageNotFoundError/) ?? false,
      );
    });
    after(async () => {
      await peer?.dispose();
      if (peer) rmSync(folder, { recursive: true });
    });

    const timing = { dtype: 'f32', threads: 1, runs: 3 } as const;

    it('times every operator', async () => {
      const image = { height: 6, width: 5, kernel: 3, layout: 'channels_last' } as const;
      for (const command of [
        { case: 'linear', m: 8, n: 16, k: 32 },
        { case: 'conv2d', channelsIn: 8, channelsOut: 4, ...image },
        { case: 'conv2d', channelsIn: 8, channelsOut: 4, ...image, layout: 'nchw' },
        { case: 'depthwise', channels: 8, ...image },
        { case: 'linear_attention', tokens: 30, heads: 2 },
        { case: 'cross_attention', tokens: 30, textTokens: 12, heads: 2, headDim: 24 },
      ] as const) {
        for (const dtype of ['f32', 'bf16'] as const) {
          const times = await peer?.run({ ...command, ...timing, dtype });
          assert.equal(times?.length, 3);
          assert.ok(times.every((ms) => ms > 0 && ms < 60_000));
        }
      }
    });

    it('reports a command that fails and runs the next one', async () => {
      const bad = peer?.run({ ...timing, case: 'linear', m: -1, n: 1, k: 1 });
      const good = peer?.run({ ...timing, case: 'linear', m: 1, n: 1, k: 1 });
      await assert.rejects(bad ?? Promise.resolve(), /torch peer failed: RuntimeError.*negative/);
      assert.equal((await good)?.length, 3);
    });

    // The peer must compute what the reference computes, or a time of it means nothing.
    const runs: {
      of: string;
      folder?: string; // sana-base
      command: Pick<PeerReference, 'stage' | 'inputs' | 'prefix'>;
      expected: string;
      relL2: number;
    }[] = [
      {
        of: 'the transformer',
        command: { stage: 'denoise_step', inputs: golden('transformer_base_nonsquare'), prefix: 'in.' },
        expected: 'output',
        relL2: 5e-5,
      },
      ...(
        [
          ['SANA-1.5', 'sana15', 'transformer_sana15'],
          ['SANA-Sprint', 'sana-sprint', 'transformer_sprint'],
          ['2K', 'sana-2k', 'transformer_sana_2k_nonsquare'],
          ['4K', 'sana-4k', 'transformer_sana_4k_nonsquare'],
        ] as const
      ).map(([of, folder, name]) => ({
        of: `the transformer of ${of}`,
        folder,
        command: { stage: 'denoise_step', inputs: golden(name), prefix: 'in.' } as const,
        expected: 'output',
        relL2: 5e-5,
      })),
      {
        of: 'the decoder',
        command: { stage: 'decode', inputs: golden('vae_decode'), prefix: 'a.in.' },
        expected: 'a.image',
        relL2: 5e-6,
      },
      {
        of: 'the text encoder',
        command: { stage: 'text_encode', inputs: golden('text'), prefix: 'long_nochi.' },
        expected: 'long_nochi.prompt_embeds_valid',
        relL2: 5e-5,
      },
    ];
    for (const library of ['torch', 'diffusers'] as const) {
      for (const { of, folder: model = 'sana-base', command, expected, relL2 } of runs) {
        it(`computes ${of} as the reference does, with ${library}`, async function () {
          if (library === 'diffusers' && !diffusers) this.skip(); // this Python has none
          const outputs = join(folder, `${command.stage}.safetensors`);
          const checkpoint = join(fixtures, model);
          await peer?.reference({ ...command, library, checkpoint, outputs, dtype: 'f32', threads: 1 });
          const actual = readSafetensors(outputs).get('output');
          const wanted = readSafetensors(command.inputs).get(expected);
          assert.ok(actual && wanted);
          assert.deepEqual(actual.shape, wanted.shape);
          assert.ok(relativeL2(actual.values, wanted.values) < relL2);
        });
      }
    }
  });
});

function relativeL2(actual: readonly number[], expected: readonly number[]): number {
  const norm = (values: readonly number[]): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return norm(actual.map((value, i) => value - (expected[i] ?? Number.NaN))) / norm(expected);
}
