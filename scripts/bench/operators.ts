/**
 * `npm run bench:operators`: matrix products and convolutions against torch's, alternating A B A B in one run, in f32
 * and bf16, and i8 products by themselves, for the shapes of the 0.6B model at 512 pixels with guidance and of the
 * autoencoder.
 * Convolutions are compared with the better of torch's two layouts.
 *
 *   SANA_BENCH_PYTHON=python3 npm run bench:operators -- [--threads 2] [--blocks 3] [--output FILE]
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { describeCommit, describeMachine, makeRecord, writeRecords } from '../../lib/bench/record.ts';
import { floorMs } from '../../lib/bench/roofline.ts';
import type { BenchmarkRecord } from '../../lib/bench/schema.ts';
import { pairRatios, quantile } from '../../lib/bench/statistics.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { openDevice } from '../../lib/device/devices.ts';
import { addon } from '../../lib/device/native.ts';
import { Graph } from '../../lib/graph/graph.ts';
import { Arena, costs, Program, write } from '../../lib/graph/program.ts';
import { Storage } from '../../lib/graph/tensor.ts';
import { activationDtype } from '../../lib/networks/weights.ts';
import { torchRandn } from '../../lib/pipeline/noise.ts';
import { type PeerOperator, TorchPeer } from './peer.ts';

type Shape =
  | { readonly op: 'linear'; readonly m: number; readonly n: number; readonly k: number }
  | { readonly op: 'conv2d'; readonly side: number; readonly channels: number };

const shapes: Shape[] = [
  { op: 'linear', m: 512, n: 3456, k: 1152 },
  { op: 'linear', m: 512, n: 1152, k: 1152 },
  { op: 'linear', m: 512, n: 5760, k: 1152 },
  { op: 'linear', m: 512, n: 1152, k: 2880 },
  { op: 'linear', m: 2048, n: 5760, k: 1152 },
  { op: 'linear', m: 40, n: 18432, k: 2304 },
  { op: 'linear', m: 1024, n: 8192, k: 1024 }, // a 1x1 convolution of the decoder
  { op: 'conv2d', side: 64, channels: 512 },
  { op: 'conv2d', side: 128, channels: 256 },
  { op: 'conv2d', side: 256, channels: 128 },
];

const { threads, blocks, output } = new Command('bench:operators')
  .option('--threads <count>', 'threads of both sides', Number, 2)
  .option('--blocks <count>', 'A B blocks', Number, 3)
  .option('--output <file>', 'append the results, one JSON object per line')
  .parse()
  .opts<{ threads: number; blocks: number; output?: string }>();
const runs = 5; // of each side in a block

const lease = openDevice('cpu', threads);
const device = lease.native;
const ceilings = await device.ceilings();
const peer = await TorchPeer.start();
const machine = describeMachine(peer === undefined ? {} : { torch: peer.torchVersion });
const where = { machine, commit: describeCommit() };
const records: BenchmarkRecord[] = [];
try {
  for (const shape of shapes) {
    for (const dtype of ['f32', 'bf16', 'i8'] as const) {
      if (dtype !== 'i8' || shape.op === 'linear') records.push(await compare(shape, dtype));
    }
  }
  if (output !== undefined) writeRecords(output, records);
} finally {
  await peer?.dispose();
  lease.release();
}

async function compare(shape: Shape, dtype: 'f32' | 'bf16' | 'i8'): Promise<BenchmarkRecord> {
  const folder = mkdtempSync(join(tmpdir(), 'sana-bench-'));
  const storage = new Storage(device, 'operands');
  const arena = new Arena(device);
  try {
    const stored = shape.op === 'linear' ? [shape.n, shape.k] : [shape.channels, shape.channels, 3, 3];
    const path = join(folder, 'weight.safetensors');
    const count = stored.reduce((a, b) => a * b, 1);
    const scale = 1 / Math.sqrt(count / (stored[0] ?? 1));
    await writeSafetensors(path, new Map([['w', { shape: stored, data: torchRandn(1, count).map((x) => x * scale) }]]));
    const g = new Graph('operator');
    const input = shape.op === 'linear' ? [shape.m, shape.k] : [1, shape.side, shape.side, shape.channels];
    const x = storage.reserve('f32', input);
    const weight =
      shape.op === 'linear'
        ? storage.reserve(dtype, stored, 'linear')
        : storage.reserve(dtype, [shape.channels, 3, 3, shape.channels], 'conv2d');
    const converted = g.convert(x, { dtype: activationDtype(dtype) });
    if (shape.op === 'linear') g.linear(converted, weight);
    else g.conv2d(converted, weight);
    storage.allocate();
    await write(
      device,
      x,
      torchRandn(
        2,
        input.reduce((a, b) => a * b, 1),
      ),
    );
    const file = addon().openFile(path);
    const entry = (await readSafetensors(file)).tensors.get('w');
    if (entry === undefined) throw new Error('the file was just written');
    await device.pack({
      file,
      fileOffset: entry.offset,
      fileDtype: 'f32',
      rows: stored[0] ?? 0,
      rowElements: count / (stored[0] ?? 1),
      buffer: storage.buffer,
      target: weight,
      firstRow: 0,
    });
    file.close();
    const program = new Program(device, g.plan());
    const own = async () => {
      const times: number[] = [];
      for (let i = 0; i < runs; i++) times.push((await program.profile(arena))[1]?.ms ?? Number.NaN);
      return times;
    };
    await own();
    const ours: number[] = [];
    const theirs: number[][] = layoutsOf(shape).map(() => []);
    for (let i = 0; i < blocks; i++) {
      ours.push(...(await own()));
      for (const [j, command] of layoutsOf(shape).entries()) {
        if (dtype === 'i8') break; // torch has none on the CPU to compare with
        const times = (await peer?.run({ ...command, dtype, threads, runs, warmup: 2 })) ?? [];
        theirs[j]?.push(...times);
      }
    }
    program.dispose();
    const [cost] = costs(g.plan()).slice(1);
    const work = { dtype, flops: cost?.flops ?? 0, bytes: cost?.bytes ?? 0 };
    const better = theirs.filter((times) => times.length > 0).sort((a, b) => quantile(a, 0.5) - quantile(b, 0.5))[0];
    const { op, ...sizes } = shape;
    const record = makeRecord(
      {
        case: { stage: `op:${op}`, batch: 1, dtype, acc: dtype === 'i8' ? 'i32' : 'f32', threads, shape: sizes },
        impl: 'sana-native',
        options: { path: device.info.path },
        warmup: runs,
        ms: ours,
        work: { tflop: work.flops / 1e12, gb: work.bytes / 1e9, floor_ms: floorMs(work, ceilings) },
        ...(better && { pair: { with: 'torch-eager', ...pairRatios(better, ours) } }),
      },
      where,
    );
    const pair = record.pair;
    console.log(
      `${op} ${JSON.stringify(sizes)} ${dtype}`.padEnd(52),
      `${record.ms.median.toFixed(2)} ms`.padStart(10),
      `${((record.achieved?.tflops ?? 0) * 1000).toFixed(0)} GFLOP/s`.padStart(12),
      `${(record.achieved?.pct_floor ?? 0).toFixed(0)} % of floor`.padStart(15),
      pair === undefined
        ? 'not compared'
        : `torch / ours ${pair.ratio.toFixed(2)} (${pair.ratio_p10.toFixed(2)}..${pair.ratio_p90.toFixed(2)})`,
    );
    return record;
  } finally {
    arena.dispose();
    storage.dispose();
    rmSync(folder, { recursive: true });
  }
}

function layoutsOf(shape: Shape): PeerOperator[] {
  if (shape.op === 'linear') return [{ case: 'linear', m: shape.m, n: shape.n, k: shape.k }];
  const { side, channels } = shape;
  const sizes = { height: side, width: side, channelsIn: channels, channelsOut: channels, kernel: 3 };
  return [
    { case: 'conv2d', ...sizes, layout: 'nchw' },
    { case: 'conv2d', ...sizes, layout: 'channels_last' },
  ];
}
