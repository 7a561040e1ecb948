/**
 * What the operators that are not matrix products compute, one plain loop each, in double precision. Every tensor is
 * dense and row-major; the formulas and shapes are those of lib/graph/operators/. A reference neither rounds nor reorders:
 * tests round its inputs to the operands' types first and compare within the types' tolerances.
 */

export type Numbers = ArrayLike<number>;
export type Activation = 'none' | 'silu' | 'gelu-tanh' | 'relu';

/** Element `i` of `x`, which the caller's shape promises to be there. */
function at(x: Numbers, i: number): number {
  const value = x[i];
  if (value === undefined) throw new RangeError(`Element ${i} of a tensor of ${x.length}`);
  return value;
}

function sum(count: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; ++i) total += term(i);
  return total;
}

function filled(count: number, element: (i: number) => number): Float64Array {
  const out = new Float64Array(count);
  for (let i = 0; i < count; ++i) out[i] = element(i);
  return out;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export function activate(activation: Activation, x: number): number {
  switch (activation) {
    case 'none':
      return x;
    case 'silu':
      return x * sigmoid(x);
    case 'relu':
      return Math.max(x, 0);
    case 'gelu-tanh':
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
}

/** x [B, H, W, C], weight [C, size, size], zero padding. */
function depthwise(
  x: Numbers,
  weight: Numbers,
  [batch, height, width, channels]: readonly [number, number, number, number],
  size: number,
): Float64Array {
  const reach = (size - 1) / 2;
  const out = new Float64Array(batch * height * width * channels); // [B, H, W, C]
  for (let b = 0; b < batch; ++b) {
    for (let y = 0; y < height; ++y) {
      for (let z = 0; z < width; ++z) {
        for (let c = 0; c < channels; ++c) {
          let total = 0;
          for (let dy = 0; dy < size; ++dy) {
            for (let dz = 0; dz < size; ++dz) {
              const row = y + dy - reach;
              const column = z + dz - reach;
              if (row < 0 || row >= height || column < 0 || column >= width) continue;
              total +=
                at(x, ((b * height + row) * width + column) * channels + c) * at(weight, (c * size + dy) * size + dz);
            }
          }
          out[((b * height + y) * width + z) * channels + c] = total;
        }
      }
    }
  }
  return out;
}

/** x [B, H, W, 2F], weight [2F, 3, 3], bias [2F] -> [B, H, W, F]. */
export function depthwiseConvGlu(
  x: Numbers,
  weight: Numbers,
  bias: Numbers,
  shape: readonly [number, number, number, number], // of x
): Float64Array {
  const [batch, height, width, channels] = shape;
  const hidden = channels / 2;
  const d = depthwise(x, weight, shape, 3);
  return filled(batch * height * width * hidden, (i) => {
    const pixel = Math.floor(i / hidden);
    const f = i % hidden;
    const value = at(d, pixel * channels + f) + at(bias, f);
    const gate = at(d, pixel * channels + hidden + f) + at(bias, hidden + f);
    return value * gate * sigmoid(gate);
  });
}

/** x [B, H, W, C], kernel [C, 5, 5], pointwise [C, D] -> [B, H, W, C]. */
export function multiScaleProject(
  x: Numbers,
  kernel: Numbers,
  pointwise: Numbers,
  shape: readonly [number, number, number, number],
  group: number, // D
): Float64Array {
  const channels = shape[3];
  const d = depthwise(x, kernel, shape, 5);
  return filled(d.length, (i) => {
    const c = i % channels;
    const first = i - (c % group); // of the group
    return sum(group, (e) => at(pointwise, c * group + e) * at(d, first + e));
  });
}

/** x [B, N, C], shift and scale [B, C] -> [B, N, C]. */
export function layerNormModulate(
  x: Numbers,
  shift: Numbers,
  scale: Numbers,
  [batch, tokens, channels]: readonly [number, number, number],
  epsilon: number,
): Float64Array {
  const out = new Float64Array(batch * tokens * channels);
  for (let row = 0; row < batch * tokens; ++row) {
    const first = row * channels;
    const item = Math.floor(row / tokens) * channels;
    const mean = sum(channels, (c) => at(x, first + c)) / channels;
    const variance = sum(channels, (c) => (at(x, first + c) - mean) ** 2) / channels;
    for (let c = 0; c < channels; ++c) {
      const normal = (at(x, first + c) - mean) / Math.sqrt(variance + epsilon);
      out[first + c] = normal * (1 + at(scale, item + c)) + at(shift, item + c);
    }
  }
  return out;
}

/** x [M, C], weight and bias [C], residual [M, C] -> [M, C]. */
export function rmsNorm(
  x: Numbers,
  weight: Numbers,
  bias: Numbers | undefined,
  residual: Numbers | undefined,
  options: { readonly epsilon: number; readonly offset: number; readonly activation: Activation },
): Float64Array {
  const channels = weight.length;
  const out = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += channels) {
    const meanSquare = sum(channels, (c) => at(x, first + c) ** 2) / channels;
    for (let c = 0; c < channels; ++c) {
      const normal = at(x, first + c) / Math.sqrt(meanSquare + options.epsilon);
      const y = normal * (at(weight, c) + options.offset) + (bias === undefined ? 0 : at(bias, c));
      out[first + c] = activate(options.activation, y) + (residual === undefined ? 0 : at(residual, first + c));
    }
  }
  return out;
}

/** qkv [B, N, 3C] -> [B, N, C]. */
export function linearAttention(
  qkv: Numbers,
  [batch, tokens, channels]: readonly [number, number, number], // C, not 3C
  options: { readonly headDim: number; readonly order: 'split' | 'interleaved'; readonly epsilon: number },
): Float64Array {
  const depth = options.headDim;
  const out = new Float64Array(batch * tokens * channels);
  for (let b = 0; b < batch; ++b) {
    for (let h = 0; h < channels / depth; ++h) {
      const element = (n: number, part: number, d: number): number => {
        const head = options.order === 'split' ? part * channels + h * depth : (3 * h + part) * depth;
        return at(qkv, (b * tokens + n) * 3 * channels + head + d);
      };
      const state = new Float64Array((depth + 1) * depth); // [D + 1, D]: sum over n of [v, 1] relu(k)^T
      for (let n = 0; n < tokens; ++n) {
        for (let e = 0; e <= depth; ++e) {
          const value = e < depth ? element(n, 2, e) : 1;
          for (let d = 0; d < depth; ++d) {
            state[e * depth + d] = at(state, e * depth + d) + value * Math.max(element(n, 1, d), 0);
          }
        }
      }
      for (let n = 0; n < tokens; ++n) {
        const applied = (e: number): number =>
          sum(depth, (d) => at(state, e * depth + d) * Math.max(element(n, 0, d), 0));
        const denominator = applied(depth) + options.epsilon;
        for (let e = 0; e < depth; ++e) {
          out[(b * tokens + n) * channels + h * depth + e] = applied(e) / denominator;
        }
      }
    }
  }
  return out;
}

/** Weights of a softmax: exp(score - most) / their sum. */
function softmax(scores: readonly number[]): number[] {
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

/** q [B, N, C], k and v [T, C] -> [B, N, C]; batch item b sees lengths[b] rows of k and v. */
export function crossAttention(
  q: Numbers,
  k: Numbers,
  v: Numbers,
  [tokens, channels]: readonly [number, number], // N, C
  options: { readonly heads: number; readonly scale: number; readonly lengths: readonly number[] },
): Float64Array {
  const depth = channels / options.heads;
  const out = new Float64Array(options.lengths.length * tokens * channels);
  let start = 0;
  for (const [b, length] of options.lengths.entries()) {
    for (let n = 0; n < tokens; ++n) {
      for (let h = 0; h < options.heads; ++h) {
        const row = (b * tokens + n) * channels + h * depth;
        const key = (t: number): number => (start + t) * channels + h * depth;
        const weights = softmax(
          Array.from({ length }, (_, t) => options.scale * sum(depth, (d) => at(q, row + d) * at(k, key(t) + d))),
        );
        for (let d = 0; d < depth; ++d) out[row + d] = sum(length, (t) => at(weights, t) * at(v, key(t) + d));
      }
    }
    start += length;
  }
  return out;
}

/** qkv [T, (heads + 2 kvHeads) D], prefix [P, 2 kvHeads D] -> [T, heads D]. */
export function causalAttention(
  qkv: Numbers,
  prefix: Numbers | undefined,
  depth: number, // D
  options: {
    readonly heads: number;
    readonly kvHeads: number;
    readonly scale: number;
    readonly softcap: number;
    readonly window: number;
    readonly lengths: readonly number[];
  },
): Float64Array {
  const { heads, kvHeads, scale, softcap, window, lengths } = options;
  const width = (heads + 2 * kvHeads) * depth;
  const prefixWidth = 2 * kvHeads * depth;
  const prefixLength = prefix === undefined ? 0 : prefix.length / prefixWidth;
  const out = new Float64Array(sum(lengths.length, (i) => at(lengths, i)) * heads * depth);
  let start = 0;
  for (const length of lengths) {
    for (let n = 0; n < length; ++n) {
      for (let h = 0; h < heads; ++h) {
        const keyHead = Math.floor((h * kvHeads) / heads);
        // part 0 is k, 1 is v; positions count from the start of the prefix
        const element = (position: number, part: number, d: number): number => {
          const column = (part * kvHeads + keyHead) * depth + d;
          if (prefix !== undefined && position < prefixLength) return at(prefix, position * prefixWidth + column);
          return at(qkv, (start + position - prefixLength) * width + heads * depth + column);
        };
        const own = prefixLength + n;
        const first = window > 0 ? Math.max(0, own - window + 1) : 0;
        const scores = Array.from({ length: own - first + 1 }, (_, t) => {
          const score =
            scale * sum(depth, (d) => at(qkv, (start + n) * width + h * depth + d) * element(first + t, 0, d));
          return softcap > 0 ? softcap * Math.tanh(score / softcap) : score;
        });
        const weights = softmax(scores);
        for (let d = 0; d < depth; ++d) {
          out[((start + n) * heads + h) * depth + d] = sum(
            weights.length,
            (t) => at(weights, t) * element(first + t, 1, d),
          );
        }
      }
    }
    start += length;
  }
  return out;
}

/** x [T, C], cosines and sines [T, D/2] -> [T, C]: the first `heads` heads of D rotated. */
export function rotaryEmbedding(
  x: Numbers,
  cosines: Numbers,
  sines: Numbers,
  [tokens, channels]: readonly [number, number],
  heads: number,
): Float64Array {
  const half = cosines.length / tokens;
  return filled(tokens * channels, (i) => {
    const token = Math.floor(i / channels);
    const channel = i % channels;
    if (channel >= heads * 2 * half) return at(x, i);
    const d = channel % (2 * half);
    const cosine = at(cosines, token * half + (d % half));
    const sine = at(sines, token * half + (d % half));
    return d < half ? at(x, i) * cosine - at(x, i + half) * sine : at(x, i) * cosine + at(x, i - half) * sine;
  });
}

/** timestep [B] -> [B, C]. Frequencies and angles are f32, as the operator asks; the rest is double. */
export function timestepEmbedding(timestep: Numbers, channels: number): Float64Array {
  const half = channels / 2;
  return filled(timestep.length * channels, (i) => {
    const c = i % channels;
    const exponent = Math.fround(Math.fround(Math.fround(-Math.log(10000)) * (c % half)) / half);
    const angle = Math.fround(at(timestep, Math.floor(i / channels)) * Math.fround(Math.exp(exponent)));
    return c < half ? Math.cos(angle) : Math.sin(angle);
  });
}

/** table [R, C], embedding [B, rows C] -> [R, B, C]. */
export function modulation(table: Numbers, embedding: Numbers, batch: number, channels: number): Float64Array {
  const rows = embedding.length / batch / channels;
  return filled(table.length * batch, (i) => {
    const c = i % channels;
    const b = Math.floor(i / channels) % batch;
    const r = Math.floor(i / channels / batch);
    return at(table, r * channels + c) + at(embedding, (b * rows + (r % rows)) * channels + c);
  });
}

export function activation(x: Numbers, kind: Activation): Float64Array {
  return filled(x.length, (i) => activate(kind, at(x, i)));
}

export function tanhClamp(x: Numbers, limit: number): Float64Array {
  return filled(x.length, (i) => limit * Math.tanh(at(x, i) / limit));
}

/** x [A, ...] -> [repeat A, ...]. */
export function convert(x: Numbers, scale: number, repeat: number): Float64Array {
  return filled(x.length * repeat, (i) => at(x, i % x.length) * scale);
}

/** x [B, R, C] -> [B, C, R]. */
export function transpose(x: Numbers, [batch, rows, columns]: readonly [number, number, number]): Float64Array {
  return filled(batch * rows * columns, (i) => {
    const r = i % rows;
    const c = Math.floor(i / rows) % columns;
    const b = Math.floor(i / rows / columns);
    return at(x, (b * rows + r) * columns + c);
  });
}

/** x [B, H, W, I], residual [B, f H, f W, O] -> [B, f H, f W, O]. */
export function pixelShuffle(
  x: Numbers,
  residual: Numbers | undefined,
  [batch, height, width, inChannels]: readonly [number, number, number, number],
  channels: number, // O
  factor: number,
): Float64Array {
  const repeat = (factor * factor * channels) / inChannels;
  return filled(batch * height * factor * width * factor * channels, (i) => {
    const o = i % channels;
    const z = Math.floor(i / channels) % (width * factor);
    const y = Math.floor(i / channels / (width * factor)) % (height * factor);
    const b = Math.floor(i / channels / (width * factor) / (height * factor));
    const channel = Math.floor((factor * factor * o + factor * (y % factor) + (z % factor)) / repeat);
    const pixel = (b * height + Math.floor(y / factor)) * width + Math.floor(z / factor);
    return at(x, pixel * inChannels + channel) + (residual === undefined ? 0 : at(residual, i));
  });
}

/** x [B, f H, f W, I], residual [B, H, W, O] -> [B, H, W, O]. */
export function pixelUnshuffle(
  x: Numbers,
  residual: Numbers | undefined,
  [batch, height, width, channels]: readonly [number, number, number, number], // of the output
  inChannels: number, // I
  factor: number,
): Float64Array {
  const parts = factor * factor;
  const group = (parts * inChannels) / channels;
  return filled(batch * height * width * channels, (i) => {
    const o = i % channels;
    const z = Math.floor(i / channels) % width;
    const y = Math.floor(i / channels / width) % height;
    const b = Math.floor(i / channels / width / height);
    const total = sum(group, (g) => {
      const unshuffled = o * group + g; // f f c + f dy + dz
      const row = (b * height + y) * factor + Math.floor((unshuffled % parts) / factor);
      const column = z * factor + (unshuffled % factor);
      return at(x, (row * width * factor + column) * inChannels + Math.floor(unshuffled / parts));
    });
    return total / group + (residual === undefined ? 0 : at(residual, i));
  });
}

/**
 * velocity as long as latents, twice (uncond, cond) or three times (perturbed, uncond, cond); coefficients
 * [g, p, q, a, b, c, w]. In f32, every product and sum
 * rounded by itself: the operator gives these very bits.
 */
export function solverStep(
  velocity: Float32Array,
  coefficients: Float32Array,
  latents: Float32Array,
  previous: Float32Array,
): { latents: Float32Array; previous: Float32Array } {
  const f = Math.fround;
  const [g, p, q, a, b, c, w] = Array.from({ length: 7 }, (_, i) => at(coefficients, i)) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const next = new Float32Array(latents.length);
  const x0 = new Float32Array(latents.length);
  for (let i = 0; i < latents.length; ++i) {
    const parts = velocity.length / latents.length;
    const part = (index: number) => at(velocity, index * latents.length + i);
    const cond = part(parts - 1);
    let v = cond;
    if (parts > 1) v = f(part(parts - 2) + f(g * f(cond - part(parts - 2))));
    if (parts > 2) v = f(v + f(w * f(cond - part(0))));
    const estimate = f(f(p * at(latents, i)) + f(q * v));
    next[i] = f(f(f(a * at(latents, i)) + f(b * estimate)) + f(c * at(previous, i)));
    x0[i] = estimate;
  }
  return { latents: next, previous: x0 };
}

/** x [B, h, w, C] -> [B, H, W, C], the centre of the picture resized to `resized` (height, width). */
export function resizeCrop(
  x: Numbers,
  [batch, inHeight, inWidth, channels]: readonly [number, number, number, number],
  resized: readonly [number, number],
  [height, width]: readonly [number, number],
): Float64Array {
  const between = (position: number, size: number, resizedSize: number) => {
    const source = Math.max(0, ((position + 0.5) * size) / resizedSize - 0.5);
    const low = Math.floor(source);
    return { low, high: Math.min(low + 1, size - 1), fraction: source - low };
  };
  const top = Math.floor((resized[0] - height) / 2);
  const left = Math.floor((resized[1] - width) / 2);
  return filled(batch * height * width * channels, (i) => {
    const c = i % channels;
    const z = between(left + (Math.floor(i / channels) % width), inWidth, resized[1]);
    const y = between(top + (Math.floor(i / channels / width) % height), inHeight, resized[0]);
    const b = Math.floor(i / channels / width / height);
    const pixel = (row: number, column: number): number =>
      at(x, ((b * inHeight + row) * inWidth + column) * channels + c);
    const upper = (1 - z.fraction) * pixel(y.low, z.low) + z.fraction * pixel(y.low, z.high);
    const lower = (1 - z.fraction) * pixel(y.high, z.low) + z.fraction * pixel(y.high, z.high);
    return (1 - y.fraction) * upper + y.fraction * lower;
  });
}

/** Levels of f32 values: x / 2 + 1/2 in f32, clamped, times 255 in f32, rounded half to even; NaN gives 0. */
export function toRgb8(x: Numbers): Uint8Array {
  return Uint8Array.from({ length: x.length }, (_, i) => {
    const unit = Math.fround(at(x, i) * 0.5 + 0.5);
    const level = Math.fround((Number.isNaN(unit) ? 0 : Math.min(Math.max(unit, 0), 1)) * 255);
    const below = Math.floor(level);
    const rest = level - below;
    return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  });
}

export function countNonFinite(x: Numbers): number {
  return sum(x.length, (i) => (Number.isFinite(at(x, i)) ? 0 : 1));
}
