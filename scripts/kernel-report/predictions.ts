/**
 * The least time of the models' operators on several cards, without running them: FLOPs over the rate of the tensor
 * cores in bf16 with f32 sums, or bytes over the memory bandwidth, whichever is longer. The cards' figures are their
 * vendors', H100's lowered to what its best matrix products reach. The last line of a step has i8 weights in the
 * products of the blocks, whose x is quantized by a separate kernel.
 */

import { type OperatorName, operatorSpec } from '../../lib/graph/operators.ts';
import { groupBy } from './group-by.ts';

const cards = {
  H100: { flops: 800e12, i8: 1600e12, bytesPerSecond: 3.0e12 },
  A100: { flops: 312e12, i8: 624e12, bytesPerSecond: 2.0e12 },
  'RTX 4090': { flops: 165e12, i8: 660e12, bytesPerSecond: 1.0e12 },
  'laptop 4090': { flops: 79e12, i8: 316e12, bytesPerSecond: 0.576e12 },
} as const;

interface Case {
  readonly group: string;
  readonly op: string;
  readonly shapes: string;
  readonly count: number;
  readonly flops: number;
  readonly bytes: number;
  /** Whether its weight is i8. */
  readonly i8: boolean;
  /** Bytes of the product and of quantizing x, if this weight can be replaced by an i8 one. */
  readonly product?: number;
  readonly quantizing?: number;
}

const elementBytes: Readonly<Record<string, number>> = { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1, i8: 1 };

/** Bytes of an operand such as `out:f32[2,256,32]` if activations are bf16. */
function bytesOf(op: OperatorName, operand: string): number {
  const [, name = '', types = '', shape = ''] = /^(\w+)((?::\w+)*)\[([\d,]+)\]/.exec(operand) ?? [];
  const { dtypes = [] } = operatorSpec(op).operands.find((spec) => spec.name === name) ?? {};
  const told = types.split(':').find((type) => type in elementBytes);
  const dtype = told ?? (dtypes.length === 1 ? dtypes[0] : undefined) ?? 'bf16';
  return shape.split(',').reduce((product, size) => product * Number(size), elementBytes[dtype] ?? 0);
}

/** Lines of test/kernels/models.txt that have `flops=`, `count=` and `group=`. */
function parse(text: string): Case[] {
  const cases: Case[] = [];
  for (const line of text.split('\n')) {
    const words = line.split('#')[0]?.trim().split(/\s+/) ?? [];
    const fact = (name: string): string | undefined =>
      words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    const [op = ''] = words;
    const group = fact('group');
    if (op === '' || group === undefined) continue;
    const shapes = words.slice(1).filter((word) => word.includes('['));
    const operandBytes = shapes.map((shape) => bytesOf(op as OperatorName, shape));
    const bytes = operandBytes.reduce((sum, each) => sum + each, 0);
    const [x = 0, weight = 0] = operandBytes;
    const ofBlocks = op === 'linear' && group.startsWith('step') && Number(fact('count')) > 1;
    cases.push({
      group,
      op,
      shapes: shapes.join(' '),
      count: Number(fact('count') ?? 1),
      flops: Number(fact('flops') ?? 0),
      bytes,
      i8: shapes.some((shape) => shape.startsWith('weight:i8')),
      ...(ofBlocks && { product: bytes - (x + weight) / 2, quantizing: x * 1.5 }),
    });
  }
  return cases;
}

/** A table per group of operators, in Markdown. */
export function* predictions(text: string): Generator<string> {
  const names = Object.keys(cards) as (keyof typeof cards)[];
  for (const [group, cases] of groupBy(parse(text), (each) => each.group)) {
    yield `### Least times of ${group}, microseconds of all calls`;
    yield '';
    yield `| operator | calls | GFLOP | MB | ${names.join(' | ')} |`;
    yield `|---|---|---|---|${names.map(() => '---').join('|')}|`;
    const totals = names.map(() => 0);
    const quantized = names.map(() => 0);
    for (const each of cases) {
      const times = names.map((name, i) => {
        const { flops, i8, bytesPerSecond } = cards[name];
        const time = each.count * 1e6 * Math.max(each.flops / (each.i8 ? i8 : flops), each.bytes / bytesPerSecond);
        totals[i] = (totals[i] ?? 0) + time;
        const { product, quantizing = 0 } = each;
        const short = product && Math.max(each.flops / i8, product / bytesPerSecond) + quantizing / bytesPerSecond;
        quantized[i] = (quantized[i] ?? 0) + (short === undefined ? time : each.count * 1e6 * short);
        return time.toFixed(1);
      });
      const [gflop, mb] = [each.flops / 1e9, each.bytes / 1e6].map((value) => value.toPrecision(3));
      yield `| ${each.op} ${each.shapes} | ${each.count} | ${gflop} | ${mb} | ${times.join(' | ')} |`;
    }
    yield `| all | | | | ${totals.map((time) => time.toFixed(0)).join(' | ')} |`;
    if (cases.some(({ product }) => product !== undefined)) {
      yield `| all, with weights of i8 | | | | ${quantized.map((time) => time.toFixed(0)).join(' | ')} |`;
    }
    yield '';
  }
}
