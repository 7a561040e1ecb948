import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { Command } from 'commander';
import { explanationLines } from '../../lib/cli/commands/explain.ts';
import { imagePaths } from '../../lib/cli/destination.ts';
import { exitCodeOf } from '../../lib/cli/exit-codes.ts';
import { addFlags, loras, requestFlags, requestOf } from '../../lib/cli/flags.ts';
import { printable, printableJson } from '../../lib/cli/output.ts';
import { duration, progressBar } from '../../lib/cli/progress.ts';
import { differences } from '../../lib/cli/repeat.ts';
import { PARAMETERS, sampleImage } from '../image/sample.ts';

/** What a progress bar writes to a terminal of so many columns. */
function drawn(columns: number, show: (bar: ReturnType<typeof progressBar>) => void, isTTY = true): string {
  const stream = Object.assign(new PassThrough(), { isTTY, columns });
  show(progressBar(stream as unknown as NodeJS.WriteStream));
  return String(stream.read() ?? '');
}

describe('the progress bar', () => {
  const environment = process.env.NO_COLOR;
  afterEach(() => {
    if (environment === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = environment;
  });

  it('shows the progress, and clears its line', () => {
    process.env.NO_COLOR = '1';
    const text = drawn(80, (bar) => {
      bar.show('Drawing', 0);
      bar.show('Drawing', 1);
      bar.clear();
    });
    const [none, all] = ['░'.repeat(24), '█'.repeat(24)];
    assert.equal(text, `\rDrawing ${none}   0 %\x1b[K\rDrawing ${all} 100 %  0 s left\x1b[K\r\x1b[K`);
  });

  it('has colour unless NO_COLOR is set', () => {
    delete process.env.NO_COLOR;
    assert.ok(drawn(80, (bar) => bar.show('Drawing', 0.5)).includes('\x1b[36m'));
    process.env.NO_COLOR = '1';
    assert.ok(!drawn(80, (bar) => bar.show('Drawing', 0.5)).includes('\x1b[36m'));
  });

  it('writes nothing if it is not on a terminal', () => {
    const show = (bar: ReturnType<typeof progressBar>) => {
      bar.show('Drawing', 0.5);
      bar.clear();
    };
    assert.equal(drawn(80, show, false), '');
  });

  it('never fills a line, which would make the terminal scroll', () => {
    process.env.NO_COLOR = '1';
    for (const columns of [10, 20, 36]) {
      const [line] = drawn(columns, (bar) => bar.show('Drawing', 0.5))
        .slice(1)
        .split('\x1b[K');
      assert.equal(line?.length, columns - 1);
    }
  });

  it('formats times for people', () => {
    assert.deepEqual([400, 59_000, 61_000, 3_720_000].map(duration), ['0 s', '59 s', '1 min 1 s', '1 h 2 min']);
  });
});

describe('the names of the images', () => {
  it('are numbered when there are several', () => {
    const image = sampleImage({ seed: '7' });
    assert.deepEqual(imagePaths('a.b/fox.png', [image]), ['a.b/fox.png']);
    assert.deepEqual(imagePaths('a.b/fox.png', [image, image]), ['a.b/fox-0.png', 'a.b/fox-1.png']);
    assert.deepEqual(imagePaths(undefined, [image]), ['sana-7.png']);
    assert.deepEqual(imagePaths(undefined, [image, image]), ['sana-7-0.png', 'sana-7-1.png']);
  });
});

describe('flags', () => {
  const requestFrom = (...args: string[]) => {
    const command = addFlags(new Command(), requestFlags()).exitOverride().parse(args, { from: 'user' });
    return requestOf(command.opts());
  };

  it('become the fields of a request, those that were given', () => {
    assert.deepEqual(requestFrom(), {});
    assert.deepEqual(
      requestFrom('--steps', '3', '--seed', '7', '--no-complex-human-instruction', '--no-use-resolution-binning'),
      { numInferenceSteps: 3, seed: 7n, complexHumanInstruction: null, useResolutionBinning: false },
    );
    assert.deepEqual(requestFrom('--decode-tiling', 'blend'), { decodeTiling: 'blend' });
    assert.deepEqual(requestFrom('--seed', '7,9', '--complex-human-instruction', 'a\nb'), {
      seed: [7n, 9n],
      complexHumanInstruction: ['a', 'b'],
    });
    assert.deepEqual(requestFrom('--intermediate-timesteps', 'none'), { intermediateTimesteps: null });
    assert.deepEqual(requestFrom('--latents', 'start.safetensors'), {});
  });
});

describe('--lora', () => {
  it('accepts a file and its scale, repeatedly', () => {
    const both = loras('b.safetensors:-.5', loras('a.safetensors'));
    assert.deepEqual(both, [{ path: 'a.safetensors' }, { path: 'b.safetensors', scale: -0.5 }]);
    assert.deepEqual(loras('C:\\a:b.safetensors'), [{ path: 'C:\\a:b.safetensors' }]);
    assert.deepEqual(loras('folder:1e-1'), [{ path: 'folder', scale: 0.1 }]);
    assert.throws(() => loras(''), /Expected a .safetensors file/);
    assert.throws(() => loras('a:1e999'), /finite number/);
  });
});

describe('repeating an image', () => {
  it('names what was different then', () => {
    const now = { source: 'sana-native', ...PARAMETERS } as const;
    assert.deepEqual(differences(now, now), []);
    assert.deepEqual(differences({ ...now, dtype: 'bfloat16', modelFingerprint: 'x' }, now), [
      'the model differs: x then, 0123456789abcdef now',
      'the dtype differs: bfloat16 then, float32 now',
    ]);
    assert.deepEqual(differences({ ...now, controlImageSha256: 'x' }, { ...now, controlImageSha256: 'y' }), [
      'the control image differs: x then, y now',
    ]);
    assert.deepEqual(differences({ source: 'a1111', prompt: 'x' }, now), []);
  });

  it('names the LoRA adapters that are missing, that have another scale, and that were not there', () => {
    const lora = (name: string, scale = 1) => ({ name, scale, sha256: name.repeat(64) });
    const made = { source: 'sana-native', ...PARAMETERS, loras: [lora('a'), lora('b', 0.5), lora('c')] } as const;
    const now = { ...made, loras: [{ ...lora('c', 2), name: 'renamed' }, lora('a'), lora('d')] };
    assert.deepEqual(differences(made, made), []);
    assert.deepEqual(differences(made, now), [
      'the LoRA b (SHA-256 bbbbbbbbbb...), scale 0.5, is missing',
      'the scale of the LoRA c differs: 1 then, 2 now',
      'the LoRA d was not used then',
    ]);
  });
});

describe('printed text', () => {
  it('has no control characters, and no marks that turn the direction of writing', () => {
    assert.equal(printable('a\x00\x1b[0m\x7f\x9b\u202eb\u2066\tc\nd'), 'a[0mb\tc\nd');
    assert.equal(printable('žluťoučký 雪 🦊 👩‍👩‍👧 مرحبا'), 'žluťoučký 雪 🦊 👩‍👩‍👧 مرحبا');
  });

  it('means the same as a JSON file without it', () => {
    const value = { text: 'a\x00\x1b[0m\x7f\x9b2J\u202eb\u2066\tc\nd 雪 🦊', seed: 7n };
    const json = printableJson(value);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
    assert.doesNotMatch(json, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]/);
    assert.deepEqual(JSON.parse(json), { ...value, seed: '7' });
  });
});

describe('exit codes', () => {
  it('distinguish the kinds of failure', () => {
    const codes = ['ARGUMENT', 'DEVICE', 'ADDON', 'MEMORY', 'MODEL', 'INTEGRITY', 'FILE', 'NUMERICS', 'CANCELLED'];
    assert.deepEqual(
      codes.map((code) => exitCodeOf(`ERR_SANA_${code}`)),
      [2, 3, 3, 4, 5, 5, 1, 1, 130],
    );
    assert.equal(exitCodeOf('ERR_UNEXPECTED'), 1);
    assert.equal(exitCodeOf('constructor'), 1);
  });
});

describe('an explanation', () => {
  const linear = { op: 'linear', scope: 'block.0', shapes: '[2, 4] x [8, 4]', dtype: 'f32', flops: 128e6, bytes: 1e3 };
  const explanation = {
    model: 'sana-tiny',
    device: 'cpu',
    devicePath: 'avx2',
    dtype: 'float32',
    batch: 1,
    width: 512,
    height: 512,
    stages: [
      {
        name: 'step',
        stage: 'denoise',
        runs: 20,
        operators: [linear, { ...linear, scope: 'block.1' }, { ...linear, op: 'rmsNorm', flops: 0 }],
        flops: 256e6,
        bytes: 3000,
        arenaBytes: 4096,
        peakBytes: 1.5e9,
      },
    ],
    flops: 5.12e9,
    memory: { weightsBytes: 1e9, stateBytes: 0, arenaBytes: 4096, workspaceBytes: 2e6, peakBytes: 1.5e9 },
  } as const;

  it('is one table per stage, with like operators together', () => {
    assert.deepEqual(explanationLines(explanation), [
      'sana-tiny on cpu (avx2), float32: 1 x 512 x 512 pixels, 5.12 GFLOP',
      '',
      'step: 20 times, 3 operators, 256 MFLOP, 3 kB moved, arena 4.1 kB, peak 1.5 GB',
      '  operator  times   FLOP  bytes  shapes',
      '  linear        2  256 M    2 k  [2, 4] x [8, 4]',
      '  rmsNorm       1     0     1 k  [2, 4] x [8, 4]',
      '',
      'weights 1 GB, state 0 B, arena 4.1 kB, workspace 2 MB, peak 1.5 GB',
    ]);
  });

  it('has the least time of every operator, if the peak rates of the device are known', () => {
    const floor = (operators: readonly { readonly flops: number; readonly bytes: number }[]) =>
      operators.reduce((sum, { flops, bytes }) => sum + Math.max(flops / 100e9, bytes / 10e9) * 1000, 0);
    assert.deepEqual(explanationLines(explanation, floor).slice(2, 6), [
      'step: 20 times, 3 operators, 256 MFLOP, 3 kB moved, arena 4.1 kB, peak 1.5 GB, floor 2.56 ms',
      '  operator  times   FLOP  bytes      floor  shapes',
      '  linear        2  256 M    2 k    2.56 ms  [2, 4] x [8, 4]',
      '  rmsNorm       1     0     1 k  0.0001 ms  [2, 4] x [8, 4]',
    ]);
  });

  it('reports the rows of the bands that a picture is decoded in', () => {
    const stage = {
      name: 'decode',
      stage: 'decode' as const,
      runs: 1,
      operators: [],
      flops: 0,
      bytes: 0,
      arenaBytes: 0,
      peakBytes: 0,
    };
    const memory = { weightsBytes: 0, stateBytes: 0, arenaBytes: 0, workspaceBytes: 0, peakBytes: 0 };
    const of = {
      model: 'm',
      device: 'cpu',
      devicePath: 'avx2',
      dtype: 'float32',
      batch: 1,
      width: 1,
      height: 1,
    } as const;
    const [, , line] = explanationLines({ ...of, stages: [{ ...stage, bandRows: 512 }], flops: 0, memory });
    assert.match(line ?? '', /^decode: once, in bands of 512 rows, 0 operators/);
  });
});
