/** `sana-native explain`: what a generation would run and hold in memory, without running it. */

import { Command } from 'commander';
import { type OperatorWork, totalFloorMs } from '../../bench/roofline.ts';
import { measureCeilings } from '../../bench/stages.ts';
import {
  type ExplainedOperator,
  type ExplainedStage,
  type Explanation,
  type GenerateRequest,
  type LoadOptions,
  type LoadProgress,
  type ProfiledOperator,
  type ProfiledStage,
  readLatents,
  SanaPipeline,
} from '../../index.ts';
import {
  addFlags,
  type LoraFlag,
  type LoraFlags,
  loraFlags,
  lorasOf,
  type ModelFlags,
  modelFlags,
  modelOf,
  type RequestFlags,
  requestFlags,
  requestOf,
} from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { printJson, printLines } from '../output.ts';
import { progressBar, showLoading } from '../progress.ts';

type Flags = ModelFlags &
  LoraFlags &
  RequestFlags & { readonly json?: boolean; readonly floor?: boolean; readonly profile?: boolean };

/** The minimum number of milliseconds for operators on the device, one after the other. */
type Floor = (operators: readonly ExplainedOperator[]) => number;

export function explainCommand(): Command {
  const command = new Command('explain')
    .description('print what a generation would run: operators, FLOPs, bytes and memory')
    .argument('[prompt]', 'only its length matters', 'a red fox in snow');
  return addFlags(command, [...modelFlags(), ...loraFlags(), ...requestFlags('outputType')])
    .option('--floor', 'measure the peak rates of the device, and add the minimum time of every operator')
    .option('--profile', 'run it, and add the time of every operator and its share of the floor')
    .option('--json', 'print one JSON object on standard output')
    .action(explain);
}

async function explain(prompt: string, flags: Flags): Promise<void> {
  const { model, options } = modelOf(flags);
  const loras = lorasOf(flags);
  const latents = flags.latents === undefined ? {} : { latents: await readLatents(flags.latents) };
  const request = { ...requestOf(flags), ...latents, prompt };
  const progress = progressBar();
  const explanation = await interruptible(async (signal) => {
    try {
      const onProgress = (event: LoadProgress) => showLoading(progress, event);
      return await SanaPipeline.explain(model, { ...request, signal }, { ...options, loras, signal, onProgress });
    } finally {
      progress.clear();
    }
  });
  const profile = flags.profile === true ? await profiled(model, options, loras, request) : undefined;
  const ceilings =
    flags.floor === true || profile !== undefined
      ? await measureCeilings(explanation.device, options.threads)
      : undefined;
  const floor = ceilings && ((operators: readonly OperatorWork[]) => totalFloorMs(operators, ceilings));
  if (flags.json === true) {
    await printJson({
      ...(floor === undefined ? explanation : withFloors(explanation, floor)),
      ...(ceilings && { ceilings }),
      ...(profile && { profile }),
    });
    return;
  }
  const lines = profile?.flatMap((stage) => profileLines(stage, floor));
  await printLines([...explanationLines(explanation, floor), ...(lines ?? [])]);
}

function withFloors(explanation: Explanation, floor: Floor) {
  return {
    ...explanation,
    stages: explanation.stages.map((stage) => ({
      ...stage,
      operators: stage.operators.map((operator) => ({ ...operator, floorMs: floor([operator]) })),
      floorMs: floor(stage.operators),
    })),
  };
}

async function profiled(
  model: string,
  options: LoadOptions,
  loras: readonly LoraFlag[],
  request: GenerateRequest,
): Promise<ProfiledStage[]> {
  const progress = progressBar();
  return await interruptible(async (signal) => {
    try {
      await using pipe = await SanaPipeline.fromPretrained(model, {
        ...options,
        signal,
        onProgress: (event) => showLoading(progress, event),
      });
      for (const { path, ...scale } of loras) await pipe.loadLora(path, { ...scale, signal });
      return await pipe.profile({
        ...request,
        signal,
        onStep: ({ step, totalSteps }) => progress.show('Profiling', step / totalSteps),
      });
    } finally {
      progress.clear();
    }
  });
}

/** One program that ran: one line for each kind of operator, the slowest first. */
function profileLines({ name, operators }: ProfiledStage, floor: Floor | undefined): string[] {
  const total = operators.reduce((sum, { ms }) => sum + ms, 0);
  const rows = groups(operators)
    .map((group) => {
      const ms = group.reduce((sum, operator) => sum + operator.ms, 0);
      const per = (of: (operator: ProfiledOperator) => number) =>
        group.reduce((sum, operator) => sum + of(operator), 0) / ms / 1e6;
      return { group, ms, gflops: per(({ flops }) => flops), gbps: per(({ bytes }) => bytes) };
    })
    .sort((a, b) => b.ms - a.ms)
    .map(({ group, ms, gflops, gbps }) =>
      [
        `  ${(group[0]?.op ?? '').padEnd(18)}`,
        String(group.length).padStart(4),
        `${ms.toFixed(2)} ms`.padStart(12),
        `${((100 * ms) / total).toFixed(1)} %`.padStart(7),
        `${gflops.toFixed(0)} GFLOP/s`.padStart(13),
        `${gbps.toFixed(1)} GB/s`.padStart(11),
        ...(floor ? [`${percent(floor(group), ms).padStart(5)} of the floor`] : []),
        group[0]?.shapes ?? '',
      ].join('  '),
    );
  const whole = floor ? `, ${percent(floor(operators), total)} of the floor ${milliseconds(floor(operators))}` : '';
  return ['', `${name}: ${total.toFixed(1)} ms${whole}`, ...rows];
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(0)} %`;
}

/** The explanation as tables: one for each stage, with one line for each operator and shapes. */
export function explanationLines(explanation: Explanation, floor?: Floor): string[] {
  const { model, device, devicePath, dtype, batch, width, height, flops, memory } = explanation;
  return [
    `${model} on ${device} (${devicePath}), ${dtype}: ${batch} x ${width} x ${height} pixels, ${scaled(flops)}FLOP`,
    ...explanation.stages.flatMap((stage) => ['', ...stageLines(stage, floor)]),
    '',
    `weights ${scaled(memory.weightsBytes)}B, state ${scaled(memory.stateBytes)}B, ` +
      `arena ${scaled(memory.arenaBytes)}B, workspace ${scaled(memory.workspaceBytes)}B, ` +
      `peak ${scaled(memory.peakBytes)}B`,
  ];
}

function stageLines(stage: ExplainedStage, floor: Floor | undefined): string[] {
  const { name, runs, operators, flops, bytes, arenaBytes, peakBytes, bandRows } = stage;
  const rows = [
    ['operator', 'times', 'FLOP', 'bytes', ...(floor ? ['floor'] : []), 'shapes'],
    ...grouped(operators, floor),
  ];
  const widths = (rows[0] ?? []).slice(0, -1).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const times = runs === 1 ? 'once' : `${runs} times`;
  return [
    `${name}: ${times}, ${bandRows === undefined ? '' : `in bands of ${bandRows} rows, `}${operators.length} operators, ` +
      `${scaled(flops)}FLOP, ${scaled(bytes)}B moved, arena ${scaled(arenaBytes)}B, peak ${scaled(peakBytes)}B` +
      (floor ? `, floor ${milliseconds(floor(operators))}` : ''),
    ...rows.map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    ),
  ].map((line, i) => (i === 0 ? line : `  ${line}`));
}

/** Groups operators of the same kind and shapes. */
function groups<T extends ExplainedOperator>(operators: readonly T[]): T[][] {
  const found = new Map<string, T[]>();
  for (const operator of operators) {
    const key = `${operator.op} ${operator.shapes}`;
    const group = found.get(key);
    if (group === undefined) found.set(key, [operator]);
    else group.push(operator);
  }
  return [...found.values()];
}

function grouped(operators: readonly ExplainedOperator[], floor: Floor | undefined): string[][] {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return groups(operators).map((group) => [
    group[0]?.op ?? '',
    String(group.length),
    scaled(sum(group.map(({ flops }) => flops))),
    scaled(sum(group.map(({ bytes }) => bytes))),
    ...(floor ? [milliseconds(floor(group))] : []),
    group[0]?.shapes ?? '',
  ]);
}

/** 1234567 -> '1.23 M' */
function scaled(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T', 'P'];
  const step = value === 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${Number((value / 1000 ** step).toPrecision(3))} ${units[step]}`;
}

function milliseconds(value: number): string {
  return `${Number(value.toPrecision(3))} ms`;
}
