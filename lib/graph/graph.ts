/**
 * Recording: a model is a function that calls these methods. Each one checks shapes at once, records a call and returns
 * the result's tensor; nothing is computed until the graph is planned, compiled and run.
 */

import { SanaError } from '../base/errors.ts';
import { type Call, SCOPE_SEPARATOR } from './call.ts';
import { most } from './limits.ts';
import {
  type Activation,
  type AttributeSpec,
  type Attributes,
  type AttributeValue,
  describeAll,
  type LimitSpec,
  type OperandSpec,
  type Operands,
} from './operator.ts';
import { type AttributesOf, type Inputs, type OperatorName, operatorSpec } from './operators.ts';
import { type Plan, plan } from './planner.ts';
import {
  ArenaValue,
  columnsOf,
  type DType,
  denseBytes,
  describe,
  elements,
  isContiguous,
  reshape,
  shapeError,
  type Tensor,
} from './tensor.ts';

/** Where a result goes: a new intermediate of this dtype (default: the input's), or an existing tensor. */
export interface Result {
  readonly dtype?: DType | undefined;
  readonly into?: Tensor | undefined;
}

export class Graph {
  readonly name: string;
  readonly #calls: Call[] = [];
  #scope: readonly string[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Names the part of the model that `body` records. */
  scope<T>(name: string, body: () => T): T {
    const outer = this.#scope;
    this.#scope = [...outer, name];
    try {
      return body();
    } finally {
      this.#scope = outer;
    }
  }

  /** Assigns every intermediate a place in the arena. */
  plan(): Plan {
    return plan(this.name, this.#calls);
  }

  /** An intermediate for several operators to write, each a range of its columns. */
  empty(dtype: DType, shape: readonly number[]): Tensor {
    const place = new ArenaValue(denseBytes({ dtype, shape }));
    return { dtype, layout: 'dense', shape, pitch: shape[shape.length - 1] ?? 1, place, offset: 0 };
  }

  /** `clip(activation(x weight^T + bias)) * gate + residual`; x [..., K], weight [N, K] -> [..., N]. */
  linear(
    x: Tensor,
    weight: Tensor,
    options: Result & {
      bias?: Tensor | undefined; // [N] f32
      gate?: Tensor | undefined; // [B, N] f32
      residual?: Tensor | undefined; // [..., N]
      activation?: Activation;
      clip?: number;
    } = {},
  ): Tensor {
    const { bias, gate, residual, activation = 'none', clip = 0 } = options;
    return this.#record('linear', { x, weight, bias, gate, residual }, { activation, clip }, options);
  }

  /** Zero-padded convolution; x [B, H, W, I], weight [O, kh, kw, I] -> [B, H/stride, W/stride, O]. */
  conv2d(
    x: Tensor,
    weight: Tensor,
    options: Result & {
      bias?: Tensor | undefined;
      residual?: Tensor | undefined;
      stride?: number;
      activation?: Activation;
    } = {},
  ): Tensor {
    const { bias, residual, stride = 1, activation = 'none' } = options;
    return this.#record('conv2d', { x, weight, bias, residual }, { stride, activation }, options);
  }

  /** Nearest-neighbour 2x upsampling fused with a 3x3 convolution; x [B, H, W, I] -> [B, 2H, 2W, O]. */
  upsampleConv2d(
    x: Tensor,
    weight: Tensor,
    options: Result & { bias?: Tensor | undefined; residual?: Tensor | undefined } = {},
  ): Tensor {
    const { bias, residual } = options;
    return this.#record('upsampleConv2d', { x, weight, bias, residual }, {}, options);
  }

  /** 3x3 depthwise convolution, then values * silu(gates); x [B, H, W, 2F] -> [B, H, W, F]. */
  depthwiseConvGlu(x: Tensor, weight: Tensor, bias: Tensor, result: Result = {}): Tensor {
    return this.#record('depthwiseConvGlu', { x, weight, bias }, {}, result);
  }

  /** 5x5 depthwise convolution, then a 1x1 over groups of D channels; [B, H, W, C] -> [B, H, W, C]. */
  multiScaleProject(x: Tensor, depthwise: Tensor, pointwise: Tensor, result: Result = {}): Tensor {
    return this.#record('multiScaleProject', { x, depthwise, pointwise }, {}, result);
  }

  /** `layerNorm(x) * (1 + scale) + shift`; x [B, N, C], shift and scale [B, C]. */
  layerNormModulate(x: Tensor, shift: Tensor, scale: Tensor, epsilon: number, result: Result = {}): Tensor {
    return this.#record('layerNormModulate', { x, shift, scale }, { epsilon }, result);
  }

  /** `activation(x * rsqrt(mean(x^2) + epsilon) * (weight + offset) + bias) + residual` over the last dimension. */
  rmsNorm(
    x: Tensor,
    weight: Tensor,
    options: Result & {
      epsilon: number;
      offset?: number;
      bias?: Tensor | undefined;
      residual?: Tensor | undefined;
      activation?: Activation;
    },
  ): Tensor {
    const { epsilon, offset = 0, bias, residual, activation = 'none' } = options;
    return this.#record('rmsNorm', { x, weight, bias, residual }, { epsilon, offset, activation }, options);
  }

  /** ReLU linear attention; qkv [B, N, 3C] -> [B, N, C]. */
  linearAttention(
    qkv: Tensor,
    options: Result & { headDim: number; order: 'split' | 'interleaved'; epsilon: number },
  ): Tensor {
    const { headDim, order, epsilon } = options;
    return this.#record('linearAttention', { qkv }, { headDim, order, epsilon }, options);
  }

  /** Softmax attention of q [B, N, C] over k, v [T, C]; item b attends to its own `lengths[b]` tokens. */
  crossAttention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Result & { heads: number; scale: number; lengths: readonly number[] },
  ): Tensor {
    const { heads, scale, lengths } = options;
    return this.#record('crossAttention', { q, k, v }, { heads, scale, lengths }, options);
  }

  /** Causal attention of concatenated sequences; qkv [T, (H + 2 Hkv) D], prefix [P, 2 Hkv D] -> [T, H D]. */
  causalAttention(
    qkv: Tensor,
    options: Result & {
      prefix?: Tensor | undefined;
      heads: number;
      kvHeads: number;
      scale: number;
      softcap: number;
      window: number;
      lengths: readonly number[];
    },
  ): Tensor {
    const { prefix, heads, kvHeads, scale, softcap, window, lengths } = options;
    const attributes = { heads, kvHeads, scale, softcap, window, lengths };
    return this.#record('causalAttention', { qkv, prefix }, attributes, options);
  }

  /** Rotates the first `heads` heads of x [T, C] by angles, given as cosines and sines [T, D/2]. */
  rotaryEmbedding(x: Tensor, cos: Tensor, sin: Tensor, heads: number, result: Result = {}): Tensor {
    return this.#record('rotaryEmbedding', { x, cos, sin }, { heads }, result);
  }

  /** Cosines, then sines of the timestep times 10000^(-i / (C/2)); timestep [B] -> [B, channels]. */
  timestepEmbedding(timestep: Tensor, channels: number, result: Result = {}): Tensor {
    return this.#record('timestepEmbedding', { timestep }, {}, result, [timestep.shape[0] ?? 1, channels]);
  }

  /** Scale-shift tables plus the timestep's embedding; table [R, C], embedding [B, rows * C] -> [R, B, C] f32. */
  modulation(table: Tensor, embedding: Tensor): Tensor {
    return this.#record('modulation', { table, embedding }, {}, { dtype: 'f32' });
  }

  activation(x: Tensor, activation: Activation, result: Result = {}): Tensor {
    return this.#record('activation', { x }, { activation }, result);
  }

  /** Converts, scales and repeats: `x * scale`, x [A, ...] -> [repeat * A, ...]. */
  convert(x: Tensor, options: Result & { scale?: number; repeat?: number } = {}): Tensor {
    const { scale = 1, repeat = 1 } = options;
    return this.#record('convert', { x }, { scale, repeat }, options);
  }

  /** [B, R, C] -> [B, C, R]. */
  transpose(x: Tensor, result: Result = {}): Tensor {
    return this.#record('transpose', { x }, {}, result);
  }

  /** Pixel shuffle, with channels repeated to give `channels`, + residual; factor 1 only repeats. */
  pixelShuffle(
    x: Tensor,
    factor: number,
    channels: number,
    options: Result & { residual?: Tensor | undefined } = {},
  ): Tensor {
    const [b = 0, h = 0, w = 0] = x.shape;
    const shape = [b, h * factor, w * factor, channels];
    return this.#record('pixelShuffle', { x, residual: options.residual }, { factor }, options, shape);
  }

  /** Pixel unshuffle, averaged over consecutive channels to give `channels`, + residual; factor 1 only averages. */
  pixelUnshuffle(
    x: Tensor,
    factor: number,
    channels: number,
    options: Result & { residual?: Tensor | undefined } = {},
  ): Tensor {
    const [b = 0, h = 0, w = 0] = x.shape;
    const shape = [b, h / factor, w / factor, channels];
    return this.#record('pixelUnshuffle', { x, residual: options.residual }, { factor }, options, shape);
  }

  /** Guidance and one multistep update, in place; coefficients [7] = g, p, q, a, b, c, w (lib/graph/operators/sampling.ts). */
  solverStep(velocity: Tensor, coefficients: Tensor, latents: Tensor, previous: Tensor): void {
    this.#call('solverStep', { velocity, coefficients, latents, previous }, {});
  }

  /** Bilinear resize, then the centre crop to height x width. */
  resizeCrop(
    x: Tensor,
    options: Result & { resizedHeight: number; resizedWidth: number; height: number; width: number },
  ): Tensor {
    const { resizedHeight, resizedWidth, height, width } = options;
    const shape = [x.shape[0] ?? 0, height, width, columnsOf(x)];
    return this.#record('resizeCrop', { x }, { resizedHeight, resizedWidth }, options, shape);
  }

  /** [-1, 1] to bytes, clamped, halves to even; [B, H, W, 3] -> u8. */
  toRgb8(x: Tensor, into?: Tensor): Tensor {
    return this.#record('toRgb8', { x }, {}, { dtype: 'u8', into });
  }

  /** The number of NaN and infinite elements, i32 [1]. */
  countNonFinite(x: Tensor, into?: Tensor): Tensor {
    const dense = isContiguous(x) ? reshape(x, [x.shape.reduce((a, b) => a * b, 1)]) : x;
    return this.#record('countNonFinite', { x: dense }, {}, { dtype: 'i32', into });
  }

  /**
   * Records any operator by its name in the table; the methods above add defaults and shapes. `shape`: the result's
   * shape, for operators whose operands do not determine it.
   */
  record<Op extends OperatorName>(
    op: Op,
    inputs: Inputs<Op>,
    attributes: AttributesOf<Op>,
    result: Result = {},
    shape?: readonly number[],
  ): Tensor {
    return this.#record(op, inputs, attributes, result, shape);
  }

  #record(
    op: OperatorName,
    inputs: Operands,
    attributes: Attributes,
    result: Result,
    shape?: readonly number[],
  ): Tensor {
    const spec = operatorSpec(op);
    return this.#explained(op, () => {
      for (const attribute of spec.attributes) checkAttribute(attribute, attributes[attribute.name]);
      const given = Object.fromEntries(Object.entries(inputs).filter(([, tensor]) => tensor !== undefined));
      const dtype = result.dtype ?? result.into?.dtype ?? Object.values(given)[0]?.dtype ?? 'f32';
      let out = result.into ?? (shape === undefined ? undefined : this.empty(dtype, shape));
      const inferred = spec.infer(out === undefined ? given : { ...given, out }, attributes);
      out ??= this.empty(dtype, inferred ?? []);
      if (inferred !== undefined && inferred.join() !== out.shape.join()) {
        throw shapeError(`out must be [${inferred.join(', ')}], got ${describe(out)}`);
      }
      this.#call(op, { ...given, out } as Record<string, Tensor>, attributes);
      return out;
    });
  }

  #call(op: OperatorName, operands: Readonly<Record<string, Tensor>>, attributes: Attributes): void {
    const spec = operatorSpec(op);
    this.#explained(op, () => {
      for (const operand of spec.operands) checkOperand(operand, operands[operand.name]);
      if (operands.out === undefined) spec.infer(operands, attributes);
      for (const [name, other] of spec.sameDtype ?? []) checkDtypes(operands, name, other);
      for (const limit of spec.limits) checkLimit(limit, operands, attributes);
    });
    this.#calls.push({ op, operands, attributes, scope: this.#scope.join(SCOPE_SEPARATOR) });
  }

  /** Adds the operator's name and scope to an error from `body`. */
  #explained<T>(op: OperatorName, body: () => T): T {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof SanaError) || error.code !== 'ERR_SANA_SHAPE' || error.message.startsWith(`${op}:`))
        throw error;
      const where = [this.name, ...this.#scope].join(SCOPE_SEPARATOR);
      throw new SanaError('ERR_SANA_SHAPE', `${op}: ${error.message} (${where})`, { hint: error.hint });
    }
  }
}

function checkOperand(spec: OperandSpec, tensor: Tensor | undefined): void {
  if (tensor === undefined) {
    if (spec.role === 'in?') return;
    throw shapeError(`operand \`${spec.name}\` is missing`);
  }
  const { shape } = tensor;
  const isSize = (size: number) => Number.isInteger(size) && size >= 1;
  if (shape.length < 1 || shape.length > most('rank') || !shape.every(isSize) || elements(shape) >= most('elements')) {
    const sizes = `1 to ${most('rank')} sizes of at least 1 and fewer than 2^${Math.log2(most('elements'))} elements`;
    throw shapeError(`\`${spec.name}\` must have ${sizes}, got ${describe(tensor)}`);
  }
  if (!spec.dtypes.includes(tensor.dtype)) {
    throw shapeError(`\`${spec.name}\` must be ${spec.dtypes.join(' or ')}, got ${describe(tensor)}`);
  }
  const layouts = spec.layout === 'pitched' ? ['dense'] : spec.layout.split('|');
  if (!layouts.includes(tensor.layout)) {
    throw shapeError(`\`${spec.name}\` must be laid out as ${layouts.join(' or ')}, got ${describe(tensor)}`);
  }
  if (spec.layout === 'dense' && !isContiguous(tensor)) {
    throw shapeError(`\`${spec.name}\` must be contiguous, got columns of a wider tensor: ${describe(tensor)}`);
  }
}

function checkAttribute({ name, kind, least, most: largest }: AttributeSpec, value: AttributeValue | undefined): void {
  if (Array.isArray(value)) {
    if (value.length > most('listLength')) {
      throw shapeError(`attribute \`${name}\` may have at most ${most('listLength')} entries, got ${value.length}`);
    }
    for (const entry of value) checkRange(`every entry of \`${name}\``, kind, least, largest, entry);
  } else if (typeof value === 'number') {
    checkRange(`attribute \`${name}\``, kind, least, largest, value);
  }
}

function checkRange(
  what: string,
  kind: string,
  least = Number.NEGATIVE_INFINITY,
  largest = Number.POSITIVE_INFINITY,
  value: number,
): void {
  const whole = kind === 'number' || Number.isInteger(value);
  if (whole && value >= least && value <= largest) return;
  const number = kind === 'number' ? '' : 'an integer ';
  const range = largest === Number.POSITIVE_INFINITY ? `at least ${least}` : `from ${least} to ${largest}`;
  throw shapeError(`${what} must be ${number}${range}, got ${value}`);
}

function checkDtypes(operands: Operands, name: string, other: string): void {
  const [one, two] = [operands[name], operands[other]];
  if (one === undefined || two === undefined || one.dtype === two.dtype) return;
  throw shapeError(`${name} and ${other} must have the same dtype; given ${describeAll(operands)}`);
}

function checkLimit({ operand, limit, what, count }: LimitSpec, operands: Operands, attributes: Attributes): void {
  if (count(operands, attributes) <= most(limit)) return;
  throw shapeError(`${operand} may have at most ${most(limit)} ${what}; given ${describeAll(operands)}`);
}
