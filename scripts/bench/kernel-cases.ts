/**
 * Writes test/kernels/models.txt: every operator that the released models run, as cases of `kernels`
 * (test/kernels/case.h), with its FLOPs and number of occurrences. The models are recorded, not loaded: no weights are
 * allocated.
 *
 *   npx tsx scripts/bench/kernel-cases.ts
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesPerElement } from '../../lib/base/dtypes.ts';
import { type JsonObject, parseJsonObject } from '../../lib/base/json.ts';
import { packageRoot } from '../../lib/base/package.ts';
import type { Component } from '../../lib/checkpoint/checkpoint.ts';
import { parseAutoencoderConfig, parseGemma2Config, parseTransformerConfig } from '../../lib/checkpoint/configs.ts';
import { openDevice } from '../../lib/device/devices.ts';
import type { Call } from '../../lib/graph/call.ts';
import type { OperandSpec } from '../../lib/graph/operator.ts';
import { operatorSpec } from '../../lib/graph/operators.ts';
import type { Plan } from '../../lib/graph/planner.ts';
import { costs } from '../../lib/graph/program.ts';
import { alignment, isContiguous, type Tensor } from '../../lib/graph/tensor.ts';
import { Autoencoder } from '../../lib/models/autoencoder.ts';
import { Engine } from '../../lib/models/engine.ts';
import { TextEncoder } from '../../lib/models/text-encoder.ts';
import { Denoiser } from '../../lib/models/transformer.ts';
import { SanaTransformer } from '../../lib/networks/sana-transformer.ts';
import type { ModelDtype } from '../../lib/networks/weights.ts';
import { configFiles, type ReleasedModel, type ReleasedSize, releasedConfigs } from '../random-checkpoint/configs.ts';

export const kernelCasesFile = join(packageRoot, 'test', 'kernels', 'models.txt');

const activations = 'bf16';
const vocabSize = 256000;
const instruction = 200; // tokens that precede every prompt
const prompt = 40; // tokens of a prompt behind them
const textTokens = [1, prompt + 1]; // what is attended to: of an empty negative prompt, and of the prompt

/** The file's text. */
export function kernelCases(): string {
  const lease = openDevice('cpu');
  try {
    const engine = new Engine(lease);
    const groups = [
      ...(['0.6b', '1.6b'] as const).flatMap((model) =>
        ([512, 1024] as const).map((size) => group(`step-${model}-${size}`, stepPlan(engine, model, size))),
      ),
      ...(['0.6b', '1.6b'] as const).map((model) =>
        group(
          `int8-${model}-1024`,
          stepPlan(engine, model, 1024, 'i8'),
          ({ operands }) => operands.weight?.dtype === 'i8',
        ),
      ),
      ...([512, 1024] as const).map((size) => group(`decode-${size}`, decodePlan(engine, size))),
      group(`text-${prompt}`, textPlan(engine)),
    ];
    return ['# Written by scripts/bench/kernel-cases.ts: do not edit.\n', ...groups].join('\n');
  } finally {
    lease.release();
  }
}

/** A denoising step of one picture with guidance. */
function stepPlan(engine: Engine, model: ReleasedModel, size: ReleasedSize, dtype: ModelDtype = activations): Plan {
  const config = parseTransformerConfig(...released('transformer', model, size));
  const transformer = new SanaTransformer(engine.device, config, dtype);
  const side = size / 32;
  const common = { images: 1, lengths: textTokens, guidance: true, perturbedBlocks: [], controlPictures: 0 };
  const shape = { ...common, height: side, width: side };
  return new Denoiser(engine, transformer, shape).stepPlan;
}

/** One picture, from latents to bytes. */
function decodePlan(engine: Engine, size: ReleasedSize): Plan {
  const config = parseAutoencoderConfig(...released('vae', '0.6b', size));
  const side = size / 32;
  return new Autoencoder(engine, recordedOnly(config), activations).planRgb(side, side, { height: size, width: size })
    .plan;
}

/** One prompt that continues the instruction. */
function textPlan(engine: Engine): Plan {
  const config = parseGemma2Config(...released('text_encoder', '0.6b', 512));
  return new TextEncoder(engine, recordedOnly(config), activations).plan([prompt], instruction).plan;
}

function released(folder: string, model: ReleasedModel, size: ReleasedSize): [JsonObject, string] {
  const file = `${folder}/config.json`;
  const text = configFiles(releasedConfigs(model, size, vocabSize), 'BF16').get(file) ?? '';
  return [parseJsonObject(text, file), file];
}

/** Recording needs only the configuration of a component. */
function recordedOnly<C>(config: C): Component<C> {
  return { config } as Component<C>;
}

/** The calls of a plan that `wanted` selects, with equal ones on one line. */
function group(name: string, plan: Plan, wanted: (call: Call) => boolean = () => true): string {
  const counts = new Map<string, number>();
  const work = costs(plan);
  plan.calls.forEach((call, i) => {
    if (!wanted(call)) return;
    const line = `${lineOf(call)} flops=${work[i]?.flops}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  });
  const lines = [...counts].map(([line, count]) => `${line} count=${count} group=${name}`);
  return `# ---- ${name} ${'-'.repeat(113 - name.length)}\n\n${lines.join('\n')}\n`;
}

function lineOf({ op, operands, attributes }: Call): string {
  const spec = operatorSpec(op);
  const words: string[] = [op];
  for (const operand of spec.operands) {
    const tensor = operands[operand.name];
    if (tensor !== undefined) words.push(`${operand.name}${typeOf(operand, tensor)}${placeOf(tensor)}`);
  }
  for (const { name, kind } of spec.attributes) {
    const value = attributes[name];
    if (value !== 0 && value !== kind.split('|')[0]) words.push(`${name}=${String(value)}`);
  }
  return words.join(' ');
}

function typeOf(operand: OperandSpec, tensor: Tensor): string {
  const words = tensor.dtype === activations || operand.dtypes.length === 1 ? [] : [tensor.dtype];
  return [...words, ...(tensor.layout === 'dense' ? [] : [tensor.layout])].map((word) => `:${word}`).join('');
}

/** Shape and pitch. Of a view's offset, only the alignment matters. */
function placeOf(tensor: Tensor): string {
  const first = (tensor.offset % alignment) / bytesPerElement(tensor.dtype);
  const view = isContiguous(tensor) && first === 0 ? '' : `@${tensor.pitch}${first === 0 ? '' : `+${first}`}`;
  return `[${tensor.shape.join(',')}]${view}`;
}

if (process.argv[1] === import.meta.filename) writeFileSync(kernelCasesFile, kernelCases());
