/**
 * The text form of generation parameters that image viewers show:
 *
 *     a red fox in snow
 *     Negative prompt: blurry
 *     Steps: 20, Sampler: flow-dpm-solver, CFG scale: 4.5, Seed: 7, Size: 1024x1024, Model hash: ..., Model: ..., Version: ...
 *
 * It is read line by line, so a line break in a text could be mistaken for the start of another field: prompts are
 * written as one line.
 */

import { LIMITS } from '../request/limits.ts';
import type { GenerationParameters, Lora } from '../request/types.ts';
import { SCHEDULERS } from '../schedulers/index.ts';

const NEGATIVE = 'Negative prompt:';

export function writeParametersText(parameters: GenerationParameters): string {
  const { loras = [] } = parameters;
  const pairs: [string, string | number][] = [
    ['Steps', parameters.numInferenceSteps],
    ['Sampler', parameters.scheduler],
    ['CFG scale', parameters.guidanceScale],
    ['Seed', parameters.seed],
    ['Size', `${parameters.width}x${parameters.height}`],
    ['Model hash', parameters.modelFingerprint.slice(0, 10)],
    ['Model', parameters.model],
    ...(loras.length === 0 ? [] : [['LoRA', lorasText(loras, parameters.loraScale)] as [string, string]]),
    ['Version', `sana-native ${parameters.version}`],
  ];
  const negative = oneLine(parameters.negativePrompt);
  return [
    // A prompt that begins like the next line would be read as that line.
    oneLine(parameters.prompt).replace(/^(Negative prompt):/, '$1 :'),
    ...(negative === '' ? [] : [`${NEGATIVE} ${negative}`]),
    pairs.map(([name, value]) => `${name}: ${quote(String(value))}`).join(', '),
  ].join('\n');
}

/** `watercolour 0.8, outlines 1`. */
function lorasText(loras: readonly Lora[], loraScale = 1): string {
  return loras.map(({ name, scale }) => `${oneLine(name)} ${scale * loraScale}`).join(', ');
}

/** Replaces control characters and line separators with spaces. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
}

function quote(value: string): string {
  return /[,:"\n]/.test(value) ? JSON.stringify(value) : value;
}

/** The parameters in a text of this form; null if its last line has fewer than three fields. */
export function readParametersText(text: string): Partial<GenerationParameters> | null {
  const lines = text.replaceAll('\r\n', '\n').trim().split('\n');
  const pairs = readPairs(lines.pop() ?? '');
  if (pairs.size < 3) return null;
  const negativeStart = lines.findIndex((line) => line.trimStart().startsWith(NEGATIVE));
  const prompt = negativeStart < 0 ? lines : lines.slice(0, negativeStart);
  const negative = negativeStart < 0 ? [] : lines.slice(negativeStart);
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(pairs.get('Size') ?? '') ?? [];
  const seed = pairs.get('Seed') ?? '';
  const scheduler = SCHEDULERS.find((name) => name === pairs.get('Sampler'));
  const found = {
    prompt: prompt.join('\n').trim(),
    negativePrompt: negative.join('\n').trim().slice(NEGATIVE.length).trim(),
    width: number(width, 1, LIMITS.maxSize),
    height: number(height, 1, LIMITS.maxSize),
    numInferenceSteps: number(pairs.get('Steps'), 1, LIMITS.maxSteps),
    guidanceScale: number(pairs.get('CFG scale'), 0, 1000),
    scheduler,
    seed: /^\d{1,20}$/.test(seed) && BigInt(seed) < 2n ** 64n ? String(BigInt(seed)) : undefined,
    model: pairs.get('Model'),
    modelFingerprint: pairs.get('Model hash'),
    version: /^sana-native (\S+)$/.exec(pairs.get('Version') ?? '')?.[1],
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

function number(text: string | undefined, min: number, max: number): number | undefined {
  const value = text === undefined || !/^\d+(\.\d+)?$/.test(text) ? Number.NaN : Number(text);
  return value >= min && value <= max ? value : undefined;
}

/** `Name: value, Name: "quoted, value", ...`, read in one pass; empty if the line has another form. */
function readPairs(line: string): Map<string, string> {
  const pairs = new Map<string, string>();
  for (let at = 0; at < line.length; ) {
    const colon = line.indexOf(':', at);
    const name = colon < 0 || colon - at > 60 ? '' : line.slice(at, colon).trim();
    if (!/^[A-Za-z][\w /-]*$/.test(name)) return new Map();
    const rest = line.slice(colon + 1, colon + 1 + 10_000);
    const [whole, quoted, plain] = /^\s*(?:("(?:[^"\\]|\\.)*")\s*|([^,]*))(?:,|$)/.exec(rest) ?? [];
    if (whole === undefined || whole.length === 10_000) return new Map();
    pairs.set(name, quoted === undefined ? (plain ?? '').trim() : unquote(quoted));
    at = colon + 1 + whole.length;
  }
  return pairs;
}

function unquote(quoted: string): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1);
  }
}
