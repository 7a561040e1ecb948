// The operator table: every operator there is, its operands and its attributes. lib/graph/operators.ts is the same
// table in TypeScript (a test holds the two equal); every backend has one kernel per entry, by the same name.
//
// Conventions. Row-major, channels last. B batch, N tokens (or M rows), C channels, T text tokens, H heads, D channels
// of a head. `...` in a shape means any leading dimensions. Activations are f32, bf16 or f16 ("x"; the CPU has no f16),
// sums are f32, vectors (biases, norm weights, modulation) are f32 always. A pitched operand may be a rectangle of
// columns of a wider tensor. i8 and f8 are of weights alone.
//
// The same call on the same device gives the same bits, always. On the CPU an output element is moreover one sum in one
// fixed order, whatever the tile, the thread count, the batch or the other rows: the same bits alone or in a batch. On
// a GPU the order of a sum may depend on the shapes of the call.
//
// An output may share memory with an input only where `in_place` names that input, and then exactly.

#pragma once

#include <cstddef>
#include <cstdint>

namespace sana {

enum DTypes : uint32_t {
  kDTypeF32 = 1,
  kDTypeBF16 = 2,
  kDTypeF16 = 4,
  kDTypeI32 = 8,
  kDTypeU8 = 16,
  kDTypeI8 = 32,
  kDTypeF8 = 64,  // e4m3: sign, four bits of exponent with bias 7, three of fraction; no infinity, at most 448
  kDTypeActivation = kDTypeF32 | kDTypeBF16 | kDTypeF16,
};

struct OperandSpec {
  const char* name;
  const char* role;    // "in", "out", "in?" (may be absent), "inout"
  uint32_t dtypes;     // mask of DTypes
  const char* layout;  // "dense", "pitched" (dense, columns of a wider tensor allowed), or a packed layout's name
};

struct AttributeSpec {
  const char* name;
  const char* kind;  // "integer", "number", "list" (of integers), or the choices, "none|silu|relu": passed as an index
};

struct OperatorSpec {
  const char* name;
  OperandSpec operands[9];      // ends with a null name
  AttributeSpec attributes[9];  // ends with a null name
  const char* in_place;         // the input that the output may overwrite, or ""
};

inline constexpr const char* kActivations = "none|silu|gelu-tanh|relu";

enum class Activation { kNone, kSilu, kGeluTanh, kRelu };

inline constexpr OperatorSpec kOperators[] = {
    // out = clip(activation(x weight^T + bias)) * gate + residual
    // x [..., K], weight [N, K], bias [N], gate [B, N] (row m of M takes gate m / (M / B)), residual and out [..., N].
    // clip limits to [-clip, clip] when > 0. With a gatedLinear weight there is neither bias, gate nor residual and
    // out [..., N/2] = activation(gate half) * other half.
    // An i8 weight (linear only, K up to 131072) and every row of x, as it is read, are symmetric bytes: v = s q with
    // s = max |v| / 127 and q = v (1 / s) rounded to the nearest, halves to even, each step in f32. A row whose s is no
    // normal number, as of zeros, counts as zeros; a row of x with a NaN or an infinity gives NaN. The product is
    // (s_x s_w) times the sum of q_x q_w, which is an integer and exact.
    // An f8 weight (likewise; GPUs of compute capability 8.9 and later) is the same but for s = max |v| / 448 and
    // q = v (1 / s) rounded to the nearest number that e4m3 has, halves to even, its subnormal ones included, and what
    // lies beyond 448 to 448. Every q_x q_w is exact, their sum is one of f32 in an order and with the rounding of the
    // device's matrix unit, which may keep fewer bits of partial sums than f32 has (docs/numerics.md).
    {"linear",
     {{"x", "in", kDTypeActivation, "pitched"},
      {"weight", "in", kDTypeActivation | kDTypeI8 | kDTypeF8, "linear|gatedLinear"},
      {"bias", "in?", kDTypeF32, "dense"},
      {"gate", "in?", kDTypeF32, "dense"},
      {"residual", "in?", kDTypeActivation, "pitched"},
      {"out", "out", kDTypeActivation, "pitched"}},
     {{"activation", kActivations}, {"clip", "number"}},
     "residual"},

    // out = activation(conv(x, weight) + bias) + residual, zero padding kh/2, kw/2 (odd kernels)
    // x [B, H, W, I], weight [O, kh, kw, I], bias [O], residual and out [B, H', W', O], H' = ceil(H / stride)
    {"conv2d",
     {{"x", "in", kDTypeActivation, "dense"},
      {"weight", "in", kDTypeActivation, "conv2d"},
      {"bias", "in?", kDTypeF32, "dense"},
      {"residual", "in?", kDTypeActivation, "dense"},
      {"out", "out", kDTypeActivation, "dense"}},
     {{"stride", "integer"}, {"activation", kActivations}},
     "residual"},

    // out = conv3x3(nearest2x(x), weight) + bias + residual, computed as four 2x2 convolutions of x
    // x [B, H, W, I], weight [O, 3, 3, I], bias [O], residual and out [B, 2H, 2W, O]
    {"upsampleConv2d",
     {{"x", "in", kDTypeActivation, "dense"},
      {"weight", "in", kDTypeActivation, "upsampleConv2d"},
      {"bias", "in?", kDTypeF32, "dense"},
      {"residual", "in?", kDTypeActivation, "dense"},
      {"out", "out", kDTypeActivation, "dense"}},
     {},
     "residual"},

    // d = depthwise3x3(x, weight) + bias, out = d[..., :F] * silu(d[..., F:])
    // x [B, H, W, 2F], weight [2F, 3, 3], bias [2F], out [B, H, W, F]
    {"depthwiseConvGlu",
     {{"x", "in", kDTypeActivation, "dense"},
      {"weight", "in", kDTypeF32, "depthwise"},
      {"bias", "in", kDTypeF32, "dense"},
      {"out", "out", kDTypeActivation, "dense"}},
     {},
     ""},

    // DC-AE's second scale: out = grouped1x1(depthwise5x5(x)), groups of D consecutive channels
    // x [B, H, W, C], depthwise [C, 5, 5], pointwise [C, D], D up to 256, out [B, H, W, C]
    {"multiScaleProject",
     {{"x", "in", kDTypeActivation, "pitched"},
      {"depthwise", "in", kDTypeF32, "depthwise"},
      {"pointwise", "in", kDTypeF32, "dense"},
      {"out", "out", kDTypeActivation, "pitched"}},
     {},
     ""},

    // out = layerNorm(x) * (1 + scale) + shift, over C, no affine weights
    // x [B, N, C], shift and scale [B, C], out [B, N, C]
    {"layerNormModulate",
     {{"x", "in", kDTypeActivation, "dense"},
      {"shift", "in", kDTypeF32, "dense"},
      {"scale", "in", kDTypeF32, "dense"},
      {"out", "out", kDTypeActivation, "dense"}},
     {{"epsilon", "number"}},
     "x"},

    // out = activation(x * rsqrt(mean(x^2) + epsilon) * (weight + offset) + bias) + residual
    // x [..., C], weight and bias [C], residual and out [..., C]
    {"rmsNorm",
     {{"x", "in", kDTypeActivation, "pitched"},
      {"weight", "in", kDTypeF32, "dense"},
      {"bias", "in?", kDTypeF32, "dense"},
      {"residual", "in?", kDTypeActivation, "pitched"},
      {"out", "out", kDTypeActivation, "pitched"}},
     {{"epsilon", "number"}, {"offset", "number"}, {"activation", kActivations}},
     "x|residual"},

    // Per head, in f32: S = [V; 1] relu(K)^T, then out = (S relu(q))[:D] / ((S relu(q))[D] + epsilon)
    // qkv [B, N, 3C], out [B, N, C], D up to 256. split: q, k, v are the thirds of the channels and a head is D
    // channels of each;
    // interleaved: a head is 3D consecutive channels, its q, k and v.
    {"linearAttention",
     {{"qkv", "in", kDTypeActivation, "dense"}, {"out", "out", kDTypeActivation, "dense"}},
     {{"headDim", "integer"}, {"order", "split|interleaved"}, {"epsilon", "number"}},
     ""},

    // softmax(q k^T * scale) v per head (D = C / heads up to 256), batch item b over its own lengths[b] text tokens
    // q [B, N, C], k and v [T, C] with the items' tokens one after another, T = sum(lengths), out [B, N, C]
    {"crossAttention",
     {{"q", "in", kDTypeActivation, "pitched"},
      {"k", "in", kDTypeActivation, "pitched"},
      {"v", "in", kDTypeActivation, "pitched"},
      {"out", "out", kDTypeActivation, "dense"}},
     {{"heads", "integer"}, {"scale", "number"}, {"lengths", "list"}},
     ""},

    // Causal attention of sequences that stand one after another (T = sum(lengths)), each preceded by the same prefix.
    // scores = softcap * tanh(q k^T * scale / softcap) (softcap 0: none); a token sees the last `window` tokens,
    // itself included (0: all); query head h reads key head h * kvHeads / heads.
    // qkv [T, (heads + 2 kvHeads) D] = q | k | v, prefix [P, 2 kvHeads D] = k | v, out [T, heads D], D up to 256
    {"causalAttention",
     {{"qkv", "in", kDTypeActivation, "pitched"},
      {"prefix", "in?", kDTypeActivation, "pitched"},
      {"out", "out", kDTypeActivation, "dense"}},
     {{"heads", "integer"},
      {"kvHeads", "integer"},
      {"scale", "number"},
      {"softcap", "number"},
      {"window", "integer"},
      {"lengths", "list"}},
     ""},

    // Rotates the first `heads` heads of D channels ("rotate half": d pairs with d + D/2), copies the other channels
    // x and out [T, C], cos and sin [T, D/2]
    {"rotaryEmbedding",
     {{"x", "in", kDTypeActivation, "pitched"},
      {"cos", "in", kDTypeF32, "dense"},
      {"sin", "in", kDTypeF32, "dense"},
      {"out", "out", kDTypeActivation, "pitched"}},
     {{"heads", "integer"}},
     "x"},

    // out = [cos(t f) | sin(t f)], f_i = exp(-ln(10000) i / (C/2)) in f32
    // timestep [B], out [B, C]
    {"timestepEmbedding", {{"timestep", "in", kDTypeF32, "dense"}, {"out", "out", kDTypeActivation, "dense"}}, {}, ""},

    // out[r, b] = table[r] + embedding[b, r % rows], embedding's `rows` rows of C: all blocks' shifts, scales and gates
    // table [R, C], embedding [B, rows * C], out [R, B, C]
    {"modulation",
     {{"table", "in", kDTypeF32, "dense"},
      {"embedding", "in", kDTypeActivation, "dense"},
      {"out", "out", kDTypeF32, "dense"}},
     {},
     ""},

    // out = activation(x), any equal shapes
    {"activation",
     {{"x", "in", kDTypeActivation, "dense"}, {"out", "out", kDTypeActivation, "dense"}},
     {{"activation", kActivations}},
     "x"},

    // out = x * scale, with x's rows taken `repeat` times over: x [A, ..., C], out [repeat * A, ..., C]
    {"convert",
     {{"x", "in", kDTypeActivation, "pitched"}, {"out", "out", kDTypeActivation, "pitched"}},
     {{"scale", "number"}, {"repeat", "integer"}},
     "x"},

    // out[b, r, c] = x[b, c, r]: channels last to channels first and back
    // x [B, R, C], out [B, C, R]
    {"transpose", {{"x", "in", kDTypeActivation, "dense"}, {"out", "out", kDTypeActivation, "dense"}}, {}, ""},

    // out[o, f i + a, f j + b] = x[(f f o + f a + b) / R, i, j] + residual, R = f f O / I: pixel shuffle of x with
    // every
    // channel repeated R times (f = factor, 1 or 2)
    // x [B, H, W, I], residual and out [B, f H, f W, O]
    {"pixelShuffle",
     {{"x", "in", kDTypeActivation, "dense"},
      {"residual", "in?", kDTypeActivation, "dense"},
      {"out", "out", kDTypeActivation, "dense"}},
     {{"factor", "integer"}},
     "residual"},

    // The other way round: pixel unshuffle (channel f f c + f a + b), then the mean over G = f f I / O consecutive
    // channels, + residual
    // x [B, f H, f W, I], residual and out [B, H, W, O]
    {"pixelUnshuffle",
     {{"x", "in", kDTypeActivation, "dense"},
      {"residual", "in?", kDTypeActivation, "dense"},
      {"out", "out", kDTypeActivation, "dense"}},
     {{"factor", "integer"}},
     "residual"},

    // Guidance, the x0 estimate and one step of a multistep solver. coefficients = [g, p, q, a, b, c, w]:
    //   v = velocity; with twice latents' batch uncond + g (cond - uncond), of the halves uncond and cond;
    //   with three times uncond + g (cond - uncond) + w (cond - perturbed), of the thirds perturbed, uncond and cond
    //   x0 = p latents + q v;  latents = a latents + b x0 + c previous;  previous = x0
    // velocity [B, 2B or 3B, N, C], latents and previous [B, N, C], both read and written
    {"solverStep",
     {{"velocity", "in", kDTypeActivation, "dense"},
      {"coefficients", "in", kDTypeF32, "dense"},
      {"latents", "inout", kDTypeF32, "dense"},
      {"previous", "inout", kDTypeF32, "dense"}},
     {},
     ""},

    // Bilinear resize (half-pixel centres, no antialias) to resizedHeight x resizedWidth, then the centre crop
    // x [B, h, w, C], out [B, H, W, C], H <= resizedHeight, W <= resizedWidth
    {"resizeCrop",
     {{"x", "in", kDTypeActivation, "dense"}, {"out", "out", kDTypeActivation, "dense"}},
     {{"resizedHeight", "integer"}, {"resizedWidth", "integer"}},
     ""},

    // out = round_half_even(clamp(x / 2 + 1/2, 0, 1) * 255); NaN gives 0
    // x [B, H, W, 3], out the same, u8
    {"toRgb8", {{"x", "in", kDTypeActivation, "dense"}, {"out", "out", kDTypeU8, "dense"}}, {}, ""},

    // out[0] = the number of NaN and infinite elements of x, at most 2^31 - 1
    {"countNonFinite", {{"x", "in", kDTypeActivation, "dense"}, {"out", "out", kDTypeI32, "dense"}}, {}, ""},
};

inline constexpr uint32_t kOperatorCount = sizeof kOperators / sizeof kOperators[0];

// Names of the dtypes and layouts, in the order of their enums in backend.h.
inline constexpr const char* kDTypeNames[] = {"f32", "bf16", "f16", "i32", "u8", "i8", "f8"};
inline constexpr const char* kLayoutNames[] = {"dense",  "linear",         "gatedLinear",
                                               "conv2d", "upsampleConv2d", "depthwise"};

}  // namespace sana
