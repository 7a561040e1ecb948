/**
 * What a benchmark writes: one JSON object per line, with the machine, the case and the spread of every time, so that a
 * figure can be traced and two runs can be compared. Statistics are in statistics.ts.
 */

import { execFileSync } from 'node:child_process';
import { appendFileSync, realpathSync } from 'node:fs';
import { cpus } from 'node:os';

import type { ModelDtype } from '../base/dtypes.ts';
import { packageRoot, version } from '../base/package.ts';
import { summarize, type TimeSummary } from './statistics.ts';

export const IMPLEMENTATIONS = [
  'sana-native',
  'torch-eager', // scripts/bench/peer.py: what diffusers does by default
  'torch-compiled', // the same through torch.compile
  'diffusers-eager',
  'diffusers-compiled',
  'torch-best',
  'openvino',
] as const;
export type Implementation = (typeof IMPLEMENTATIONS)[number];

/** What is timed: a part of a generation, or one operator by its name in the operator table. */
export type Stage = 'text_encode' | 'denoise_step' | 'decode' | 'generate' | `op:${string}`;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly gpu?: string;
  readonly smMhz?: number;
  readonly driver?: string;
  readonly node: string;
  readonly torch?: string;
  readonly diffusers?: string; // and transformers
}

export interface BenchmarkCase {
  readonly stage: Stage;
  readonly model?: string;
  readonly res?: readonly [height: number, width: number];
  readonly batch: number;
  readonly steps?: number;
  readonly dtype: ModelDtype;
  readonly acc: 'f32' | 'f16' | 'i32'; // of accumulation
  readonly threads?: number;
  /** An operator's sizes. */
  readonly shape?: Readonly<Record<string, number>>;
}

/**
 * FLOPs and minimum bytes of one run, and the floor they give with the machine's ceilings (`floorMs` in roofline.ts).
 */
export interface Work {
  readonly tflop: number;
  readonly gb: number;
  readonly floor_ms: number;
}

/** How far the timed result is from a reference with the same inputs. A time without this is meaningless. */
export interface ResultError {
  readonly ref: string;
  readonly rel_l2: number;
  readonly max_abs: number;
  readonly cos: number;
}

/** The other implementation's time over ours, from alternating runs: above 1, ours is faster. */
export interface Pairing {
  readonly with: Implementation;
  readonly ratio: number;
  readonly ratio_p10: number;
  readonly ratio_p90: number;
}

export interface BenchmarkRecord {
  readonly schema: 1;
  readonly when: string; // ISO 8601
  readonly commit: string; // with '+' if the tree has changes; for a release its version, v1.2.3
  readonly machine: Machine;
  readonly case: BenchmarkCase;
  readonly impl: Implementation;
  readonly options?: Readonly<Record<string, boolean | number | string>>;
  readonly runs: number;
  readonly warmup: number;
  readonly ms: TimeSummary;
  readonly peak_bytes?: number;
  readonly work?: Work;
  readonly achieved?: { readonly tflops: number; readonly gbps: number; readonly pct_floor: number };
  readonly error?: ResultError;
  readonly pair?: Pairing;
}

/** The results of one series of runs; `makeRecord` adds where and when. */
export interface Measurement {
  readonly case: BenchmarkCase;
  readonly impl: Implementation;
  readonly options?: BenchmarkRecord['options'];
  readonly warmup: number;
  readonly ms: readonly number[]; // of every run
  readonly peakBytes?: number;
  readonly work?: Work;
  readonly error?: ResultError;
  readonly pair?: Pairing;
}

export function makeRecord(
  measurement: Measurement,
  where: { readonly machine: Machine; readonly commit: string; readonly when?: Date },
): BenchmarkRecord {
  const { case: benchmarkCase, impl, options, warmup, ms, peakBytes, work, error, pair } = measurement;
  const summary = summarize(ms);
  return {
    schema: 1,
    when: (where.when ?? new Date()).toISOString(),
    commit: where.commit,
    machine: where.machine,
    case: benchmarkCase,
    impl,
    ...(options && { options }),
    runs: ms.length,
    warmup,
    ms: summary,
    ...(peakBytes !== undefined && { peak_bytes: peakBytes }),
    ...(work && { work, achieved: achieved(work, summary.median) }),
    ...(error && { error }),
    ...(pair && { pair }),
  };
}

function achieved(work: Work, ms: number): NonNullable<BenchmarkRecord['achieved']> {
  return {
    tflops: work.tflop / (ms / 1000),
    gbps: work.gb / (ms / 1000),
    pct_floor: (100 * work.floor_ms) / ms,
  };
}

/** Appends records to `path`, one line each. */
export function writeRecords(path: string, records: readonly BenchmarkRecord[]): void {
  appendFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
}

/** This machine, as far as Node.js can tell; a caller with a GPU or a torch peer adds what it knows. */
export function describeMachine(known: Partial<Machine> = {}): Machine {
  const list = cpus();
  return { cpu: list[0]?.model.trim() ?? 'unknown', cores: list.length, node: process.versions.node, ...known };
}

/**
 * The short commit of the working tree, with '+' if files differ from it; outside a repository, the version: v1.2.3.
 */
export function describeCommit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe', cwd: packageRoot }).trim();
  try {
    // An installed package may be inside the repository of the user.
    if (realpathSync(git('rev-parse', '--show-toplevel')) !== realpathSync(packageRoot)) return `v${version}`;
    const commit = git('rev-parse', '--short=12', 'HEAD');
    return git('status', '--porcelain') === '' ? commit : `${commit}+`;
  } catch {
    return `v${version}`;
  }
}
