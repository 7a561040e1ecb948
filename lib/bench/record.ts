/**
 * What a benchmark writes: one JSON object a line, with the machine, the case and the spread beside every time, so that
 * a figure can be traced and two runs compared. schema.ts describes it, statistics.ts computes the spread.
 */

import { execFileSync } from 'node:child_process';
import { appendFileSync, realpathSync } from 'node:fs';
import { cpus } from 'node:os';

import { packageRoot, version } from '../base/package.ts';
import type { BenchmarkCase, BenchmarkRecord, Implementation, Machine, Pairing, ResultError, Work } from './schema.ts';
import { summarize } from './statistics.ts';

/** What one series of runs gives; `makeRecord` adds where and when. */
export interface Measurement {
  readonly case: BenchmarkCase;
  readonly impl: Implementation;
  readonly options?: NonNullable<BenchmarkRecord['options']>;
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

/** This machine, as far as Node can tell; a caller with a GPU or a torch peer adds what it knows. */
export function describeMachine(known: Partial<Machine> = {}): Machine {
  const list = cpus();
  return { cpu: list[0]?.model.trim() ?? 'unknown', cores: list.length, node: process.versions.node, ...known };
}

/** The short commit of the working tree, with '+' when files differ from it; outside it, the version: v1.2.3. */
export function describeCommit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe', cwd: packageRoot }).trim();
  try {
    // An installed package may lie in the repository of whoever installed it.
    if (realpathSync(git('rev-parse', '--show-toplevel')) !== realpathSync(packageRoot)) return `v${version}`;
    const commit = git('rev-parse', '--short=12', 'HEAD');
    return git('status', '--porcelain') === '' ? commit : `${commit}+`;
  } catch {
    return `v${version}`;
  }
}
