/**
 * `npm run bench`: times the stages of a generation against torch, alternating A B A B in one run, in f32 and bf16, or
 * ours in int8 against torch in bf16.
 *
 *   npm run bench -- --model FOLDER [--device cuda:0] [--size 512] [--dtype f32 bf16 i8] [--blocks 3]
 *                    [--peer diffusers] [--compile] [--output docs/measurements/x.jsonl]
 *
 * The peer is scripts/bench/peer.py: the reference's operations in bare torch, or diffusers itself, with the same
 * checkpoint's weights, eager or compiled.
 * SANA_BENCH_PYTHON names a Python with torch; without one, only our side is timed, and the output says so. What does
 * not fit in memory together with our side is skipped, with the reason.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { publicDtype } from '../../lib/base/dtypes.ts';
import { describeCommit, describeMachine, makeRecord, writeRecords } from '../../lib/bench/record.ts';
import { type BenchmarkRecord, type ResultError, type StageName, stageNames } from '../../lib/bench/schema.ts';
import { benchRequest, emptyTimes, measureCeilings, timeGeneration, workOf } from '../../lib/bench/stages.ts';
import { pairRatios } from '../../lib/bench/statistics.ts';
import { openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { readTensor, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { type DeviceName, listDevices, SanaPipeline, type TensorLike } from '../../lib/index.ts';
import { torchRandn } from '../../lib/pipeline/noise.ts';
import { type PeerLibrary, type PeerSetup, type PeerStage, TorchPeer } from './peer.ts';

const dtypes = ['f32', 'bf16', 'i8'] as const;
type Dtype = (typeof dtypes)[number];

interface Options {
  readonly model: string;
  readonly variant?: string;
  readonly size: number;
  readonly dtype: Dtype[];
  readonly blocks: number;
  readonly threads: number;
  readonly device: DeviceName;
  readonly peer: PeerLibrary;
  readonly compile: boolean;
  readonly output?: string;
}

/** Bytes that torch needs for a stage of the 0.6B or 1.6B model beside our side, by dtype; the encoder keeps its table. */
const textEncoderBytes = { f32: 10.5e9, bf16: 5.3e9 };
/** Steps of each of our generations: all except the first two are timed, and torch times the same number. */
const steps = 5;
const timedSteps = steps - 2;

const options = new Command('bench')
  .requiredOption('--model <folder>', 'checkpoint folder of a 0.6B or 1.6B model, real or made by make-checkpoint')
  .option('--variant <name>', "which weight files to load, e.g. 'bf16'")
  .option('--size <pixels>', 'width and height', Number, 512)
  .addOption(
    new Option('--dtype <types...>', 'dtypes of our side; the peer uses bf16 if ours is i8')
      .choices(dtypes)
      .default(['f32', 'bf16']),
  )
  .option('--blocks <count>', 'A B blocks', Number, 3)
  .option('--threads <count>', 'threads of both sides', Number, 2)
  .option('--device <name>', "the device of both sides, 'cpu' or 'cuda:0'", 'cpu')
  .addOption(
    new Option('--peer <library>', "the reference's operations in bare torch, or diffusers' own networks")
      .choices(['torch', 'diffusers'])
      .default('torch'),
  )
  .option('--compile', 'the peer compiles its networks (torch.compile, max-autotune)', false)
  .option('--output <file>', 'append the results, one JSON object per line')
  .parse()
  .opts<Options>();

const records: BenchmarkRecord[] = [];
for (const dtype of options.dtype) records.push(...(await compare(dtype)));
if (options.output !== undefined) writeRecords(options.output, records);

async function compare(dtype: Dtype): Promise<BenchmarkRecord[]> {
  await using pipe = await SanaPipeline.fromPretrained(options.model, {
    device: options.device,
    dtype: publicDtype(dtype),
    ...(options.device === 'cpu' && { threads: options.threads }),
    ...(options.variant !== undefined && { variant: options.variant }),
  });
  const { size, threads, blocks } = options;
  const request = { width: size, height: size, useResolutionBinning: false, numInferenceSteps: steps };
  const explanation = await pipe.explain({ ...benchRequest(), ...request });
  const onCpu = options.device === 'cpu';
  const work = workOf(explanation, await measureCeilings(options.device, onCpu ? threads : undefined));
  const peer = await TorchPeer.start();
  const peerDtype = dtype === 'i8' ? 'bf16' : dtype;
  const theirs: Partial<Record<StageName, number[]>> = {};
  const cases: PeerStage[] = [
    { case: 'denoise_step', model: await modelName(), size, checkpoint: options.model },
    { case: 'decode', size, checkpoint: options.model },
    { case: 'text_encode', checkpoint: options.model },
  ];
  try {
    const diffusers = options.peer === 'diffusers' ? await peer?.diffusersVersion() : undefined;
    const errors = peer === undefined ? {} : await stageErrors(pipe, peer, dtype);
    await timeGeneration(pipe, emptyTimes(), { steps: 1, size });
    const ours = emptyTimes();
    let peakBytes = 0;
    for (let block = 0; block < blocks; block++) {
      ({ peakBytes } = await timeGeneration(pipe, ours, { steps, size }));
      for (const stage of peer === undefined ? [] : cases) {
        if (onCpu && stage.case === 'text_encode' && freemem() < textEncoderBytes[peerDtype]) {
          if (block === 0)
            console.error(
              `text_encode in ${peerDtype}: torch's text encoder does not fit in the memory left, not compared`,
            );
          continue;
        }
        const runs = stage.case === 'denoise_step' ? timedSteps : 1;
        const times = await peer?.run({
          ...stage,
          ...peerSetup(),
          dtype: peerDtype,
          threads,
          runs,
          warmup: onCpu ? 1 : 3,
        });
        theirs[stage.case] = [...(theirs[stage.case] ?? []), ...(times ?? [])];
      }
    }
    const gpu = onCpu ? undefined : listDevices().find(({ id }) => id === explanation.device)?.name;
    const machine = describeMachine({
      ...(gpu !== undefined && { gpu }),
      ...(peer !== undefined && { torch: peer.torchVersion }),
      ...(diffusers !== undefined && { diffusers }),
    });
    const where = { machine, commit: describeCommit() };
    return stageNames.map((stage) => {
      const other = theirs[stage];
      const benchmarkCase = {
        stage,
        model: explanation.model,
        res: [size, size] as const,
        batch: 2 * explanation.batch,
        ...(stage === 'generate' && { steps }),
        dtype,
        acc: dtype === 'i8' ? ('i32' as const) : ('f32' as const),
        threads,
      };
      const error = errors[stage];
      const record = makeRecord(
        {
          case: benchmarkCase,
          impl: 'sana-native',
          options: { path: explanation.devicePath, ...(peer && { peerDtype }) },
          warmup: 1,
          ms: ours[stage],
          peakBytes,
          work: work[stage],
          ...(error && { error }),
          ...(other && {
            pair: {
              with: `${options.peer}-${options.compile ? 'compiled' : 'eager'}` as const,
              ...pairRatios(other, ours[stage]),
            },
          }),
        },
        where,
      );
      print(record, other);
      return record;
    });
  } finally {
    await peer?.dispose();
  }
}

/** The errors of our transformer and decoder against torch in f32, with the same weights and inputs. */
async function stageErrors(
  pipe: SanaPipeline,
  peer: TorchPeer,
  dtype: Dtype,
): Promise<Partial<Record<StageName, ResultError>>> {
  const folder = mkdtempSync(join(tmpdir(), 'sana-bench-'));
  try {
    const side = options.size / 32;
    const normal = (seed: number, shape: number[], scale = 1): TensorLike => ({
      data: torchRandn(
        seed,
        shape.reduce((a, b) => a * b, 1),
      ).map((x) => x * scale),
      shape,
    });
    const latents = normal(1, [1, 32, side, side]);
    const embeds = normal(2, [1, 40, 2304]);
    const mask = { data: new Float32Array(40).fill(1), shape: [1, 40] };
    const timestep = { data: Float32Array.of(749), shape: [1] };
    const z = normal(3, [1, 32, side, side]);
    const inputs = join(folder, 'inputs.safetensors');
    const tensors = { latents, z, timestep, encoder_hidden_states: embeds, encoder_attention_mask: mask };
    await writeSafetensors(inputs, new Map(Object.entries(tensors)));
    const { compile: _, ...setup } = peerSetup();
    const common = { checkpoint: options.model, inputs, dtype: 'f32', threads: options.threads, ...setup } as const;
    const errors: Partial<Record<StageName, ResultError>> = {};
    for (const stage of ['denoise_step', 'decode'] as const) {
      const outputs = join(folder, `${stage}.safetensors`);
      await peer.reference({ ...common, stage, outputs });
      const expected = await readTensor(outputs, 'output');
      const actual =
        stage === 'decode'
          ? await pipe.autoencoder.decode(z)
          : await pipe.transformer.forward({ latents, timestep: 749, embeds, mask });
      errors[stage] = { ref: `${options.peer}-f32 (ours ${dtype})`, ...difference(actual.data, expected.data) };
    }
    return errors;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): Omit<ResultError, 'ref'> {
  let [squares, norm, own, dot, maxAbs] = [0, 0, 0, 0, 0];
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i] ?? Number.NaN, expected[i] ?? 0];
    squares += (a - e) ** 2;
    norm += e * e;
    own += a * a;
    dot += a * e;
    maxAbs = Math.max(maxAbs, Math.abs(a - e));
  }
  return { rel_l2: Math.sqrt(squares / norm), max_abs: maxAbs, cos: dot / Math.sqrt(norm * own) };
}

function peerSetup(): PeerSetup {
  const { peer, variant, device, compile } = options;
  return {
    library: peer,
    ...(variant !== undefined && { variant }),
    device: device === 'cuda' ? 'cuda:0' : device, // as torch calls it
    compile,
  };
}

async function modelName(): Promise<'0.6b' | '1.6b'> {
  const checkpoint = await openCheckpoint(
    options.model,
    options.variant === undefined ? {} : { variant: options.variant },
  );
  checkpoint.close();
  return checkpoint.transformer.config.numAttentionHeads === 36 ? '0.6b' : '1.6b';
}

function print(
  { case: { stage, dtype }, ms, achieved, pair, error }: BenchmarkRecord,
  other: number[] | undefined,
): void {
  const parts = [
    stage.padEnd(13),
    dtype.padEnd(5),
    `${ms.median.toFixed(1)} ms`.padStart(11),
    `${((achieved?.tflops ?? 0) * 1000).toFixed(0)} GFLOP/s`.padStart(13),
    `${(achieved?.pct_floor ?? 0).toFixed(0)} % of floor`.padStart(16),
    pair === undefined || other === undefined
      ? 'not compared'
      : `${pair.with} / ours ${pair.ratio.toFixed(2)} (${pair.ratio_p10.toFixed(2)}..${pair.ratio_p90.toFixed(2)})`,
    error === undefined ? '' : `rel_l2 ${error.rel_l2.toExponential(1)}`,
  ];
  console.log(parts.join('  '));
}
