#include "core/contracts.h"

#include <cstring>
#include <initializer_list>
#include <string>

#include "core/error.h"
#include "core/tensor.h"

namespace sana {
namespace {

// An operand with its name; false if absent.
struct Operand {
  const char* name;
  const SanaTensor* tensor;

  explicit operator bool() const { return tensor->rank != 0; }
  uint32_t rank() const { return tensor->rank; }
  int64_t operator[](int dimension) const { return tensor->shape[dimension]; }
  int64_t rows() const { return sana::rows(*tensor); }
  int64_t columns() const { return sana::columns(*tensor); }
  uint32_t dtype() const { return tensor->dtype; }
};

class Contract {
 public:
  Contract(const OperatorSpec& spec, const SanaCall& call) : spec_(spec), call_(call) {}

  Operand operator[](int operand) const { return {spec_.operands[operand].name, &call_.operands[operand]}; }
  // An attribute; its range has been checked.
  int64_t integer(int attribute) const { return static_cast<int64_t>(call_.attributes[attribute]); }

  // Checks that every attribute is in the range that the operator's row specifies.
  void ranges() const {
    for (int i = 0; spec_.attributes[i].name; ++i) {
      const AttributeSpec& attribute = spec_.attributes[i];
      const double value = call_.attributes[i];
      if (std::strcmp(attribute.kind, "list") == 0) {
        for (uint32_t j = 0; j < call_.list_length; ++j) {
          SANA_CHECK(double(call_.list[j]) >= attribute.least && double(call_.list[j]) <= attribute.most,
                     "attribute `%s` must have entries from %.17g to %.17g, got %lld", attribute.name, attribute.least,
                     attribute.most, static_cast<long long>(call_.list[j]));
        }
      } else if (attribute.most < kUnlimited) {
        SANA_CHECK(value >= attribute.least && value <= attribute.most,
                   "attribute `%s` must be from %.17g to %.17g, got %.17g", attribute.name, attribute.least,
                   attribute.most, value);
      } else {
        SANA_CHECK(value >= attribute.least, "attribute `%s` must be at least %g, got %g", attribute.name,
                   attribute.least, value);
      }
    }
  }

  // Throws with every operand's shape unless `condition` holds.
  void demand(bool condition, const char* what) const {
    if (condition) return;
    std::string given;
    for (int i = 0; spec_.operands[i].name; ++i) {
      if (call_.operands[i].rank == 0) continue;
      given += (given.empty() ? "" : ", ") + std::string(spec_.operands[i].name) + " " + to_text(call_.operands[i]);
    }
    throw Error("ERR_SANA_PROGRAM", "%s; given %s", what, given.c_str());
  }

  void rank(Operand operand, uint32_t rank, const char* shape) const {
    demand(operand.rank() == rank, (std::string(operand.name) + " must be " + shape).c_str());
  }

  // The operand, if present, must have exactly this shape.
  void shape(Operand operand, std::initializer_list<int64_t> sizes) const {
    if (!operand) return;
    bool equal = operand.rank() == sizes.size();
    std::string wanted;
    int i = 0;
    for (const int64_t size : sizes) {
      equal = equal && operand[i] == size;
      wanted += (i++ ? ", " : "") + std::to_string(size);
    }
    demand(equal, (std::string(operand.name) + " must be [" + wanted + "]").c_str());
  }
  void same_shape(Operand operand, Operand other) const {
    if (!operand) return;
    bool equal = operand.rank() == other.rank();
    for (uint32_t i = 0; equal && i < operand.rank(); ++i) equal = operand[i] == other[i];
    demand(equal, (std::string(operand.name) + " must have the shape of " + other.name).c_str());
  }
  void same_dtype(Operand operand, Operand other) const {
    demand(!operand || operand.dtype() == other.dtype(),
           (std::string(operand.name) + " must have the dtype of " + other.name).c_str());
  }
  void most(Operand operand, int64_t size, int64_t limit, const char* what) const {
    if (size <= limit) return;
    demand(false, (std::string(operand.name) + " may have at most " + std::to_string(limit) + " " + what).c_str());
  }
  // [B, H, W, C] within the limits of the kernels.
  void image(Operand operand) const {
    rank(operand, 4, "[B, H, W, C]");
    most(operand, operand[1], kMostSide, "rows");
    most(operand, operand[2], kMostSide, "columns");
    most(operand, operand[3], kMostChannels, "channels");
  }

  // The `lengths` attribute must have `sequences` entries (any number if 0) that sum to `tokens`.
  void lengths(int64_t sequences, int64_t tokens) const {
    SANA_CHECK(sequences == 0 || call_.list_length == sequences, "attribute `lengths` must have %lld entries, got %u",
               static_cast<long long>(sequences), call_.list_length);
    int64_t sum = 0;
    for (uint32_t i = 0; i < call_.list_length; ++i) sum += call_.list[i];
    SANA_CHECK(sum == tokens, "attribute `lengths` must sum to %lld tokens, got %lld", static_cast<long long>(tokens),
               static_cast<long long>(sum));
  }

 private:
  const OperatorSpec& spec_;
  const SanaCall& call_;
};

bool divides(int64_t divisor, int64_t number) {
  return divisor > 0 && number % divisor == 0;
}

// -- one function per operator ----------------------------------------------------------------------------------------

// x [..., K], weight [N, K], bias [N], gate [B, N], residual and out [..., N or N/2]
void linear(const Contract& c) {
  const Operand x = c[op::Linear::kX], weight = c[op::Linear::kWeight], bias = c[op::Linear::kBias],
                gate = c[op::Linear::kGate], residual = c[op::Linear::kResidual], out = c[op::Linear::kOut];
  const bool gated = weight.tensor->layout == kSanaGatedLinear;
  const int64_t n = weight[0];
  c.demand(!gated || (!bias && !gate && !residual), "a gatedLinear weight takes neither bias, gate nor residual");
  c.most(weight, n, kMostLinearSize, "rows");
  c.most(weight, weight[1], kMostLinearSize, "columns");
  c.demand(x.columns() == weight[1], "x must have the weight's columns");
  if (is_quantized(weight.dtype())) {
    c.demand(!gated, "a gatedLinear weight cannot be i8 or f8");
    c.most(weight, weight[1], kMostQuantizedInputs, "columns of i8 or f8");
  } else {
    c.same_dtype(x, weight);
  }
  c.demand(out.columns() == (gated ? n / 2 : n),
           "out must have a column per row of the weight, or per two of a gated one");
  c.demand(out.rows() == x.rows(), "out must have the rows of x");
  c.shape(bias, {n});
  if (residual) {
    c.demand(residual.columns() == out.columns() && residual.rows() == out.rows(),
             "residual must have the shape of out");
  }
  c.same_dtype(residual, out);
  if (gate) {
    c.demand(gate.rank() == 2 && gate[1] == n && divides(gate[0], x.rows()),
             "gate must be [B, N], N the weight's rows and B dividing the rows of x");
  }
}

// x [B, H, W, I], weight [O, kh, kw, I], bias [O], residual and out [B, ceil(H / stride), ceil(W / stride), O]
void conv2d(const Contract& c) {
  const Operand x = c[op::Conv2d::kX], weight = c[op::Conv2d::kWeight], out = c[op::Conv2d::kOut];
  const int64_t stride = c.integer(op::Conv2d::kStride);
  c.image(x);
  c.most(weight, weight[0], kMostChannels, "output channels");
  c.most(weight, weight[1], kMostKernelSize, "rows of a kernel");
  c.most(weight, weight[2], kMostKernelSize, "columns of a kernel");
  c.demand(weight[1] % 2 == 1 && weight[2] % 2 == 1, "weight must have odd kernels");
  c.demand(weight[3] == x[3], "weight must take the channels of x");
  c.same_dtype(x, weight);
  c.shape(c[op::Conv2d::kBias], {weight[0]});
  c.shape(out, {x[0], (x[1] + stride - 1) / stride, (x[2] + stride - 1) / stride, weight[0]});
  c.same_shape(c[op::Conv2d::kResidual], out);
  c.same_dtype(c[op::Conv2d::kResidual], out);
}

// x [B, H, W, I], weight [O, 3, 3, I], bias [O], residual and out [B, 2H, 2W, O]
void upsample_conv2d(const Contract& c) {
  const Operand x = c[op::UpsampleConv2d::kX], weight = c[op::UpsampleConv2d::kWeight],
                out = c[op::UpsampleConv2d::kOut];
  c.image(x);
  c.image(out);
  c.demand(weight[3] == x[3], "weight must take the channels of x");
  c.same_dtype(x, weight);
  c.shape(c[op::UpsampleConv2d::kBias], {weight[0]});
  c.shape(out, {x[0], 2 * x[1], 2 * x[2], weight[0]});
  c.same_shape(c[op::UpsampleConv2d::kResidual], out);
  c.same_dtype(c[op::UpsampleConv2d::kResidual], out);
}

// x [B, H, W, 2F], weight [2F, 3, 3], bias [2F], out [B, H, W, F]
void depthwise_conv_glu(const Contract& c) {
  const Operand x = c[op::DepthwiseConvGlu::kX];
  c.image(x);
  c.demand(x[3] % 2 == 0, "x must have an even number of channels");
  c.shape(c[op::DepthwiseConvGlu::kWeight], {x[3], 3, 3});
  c.shape(c[op::DepthwiseConvGlu::kBias], {x[3]});
  c.shape(c[op::DepthwiseConvGlu::kOut], {x[0], x[1], x[2], x[3] / 2});
}

// x and out [B, H, W, C], depthwise [C, 5, 5], pointwise [C, D]
void multi_scale_project(const Contract& c) {
  const Operand x = c[op::MultiScaleProject::kX], pointwise = c[op::MultiScaleProject::kPointwise];
  c.image(x);
  c.shape(c[op::MultiScaleProject::kDepthwise], {x[3], 5, 5});
  c.demand(pointwise.rank() == 2 && pointwise[0] == x[3] && divides(pointwise[1], x[3]),
           "pointwise must be [C, D], D dividing the C channels of x");
  c.most(pointwise, pointwise[1], kMostHeadDim, "columns");
  c.same_shape(c[op::MultiScaleProject::kOut], x);
}

// x and out [B, N, C], shift and scale [B, C]
void layer_norm_modulate(const Contract& c) {
  const Operand x = c[op::LayerNormModulate::kX];
  c.rank(x, 3, "[B, N, C]");
  c.most(x, x[2], kMostChannels, "channels");
  c.shape(c[op::LayerNormModulate::kShift], {x[0], x[2]});
  c.shape(c[op::LayerNormModulate::kScale], {x[0], x[2]});
  c.same_shape(c[op::LayerNormModulate::kOut], x);
}

// x, residual and out [..., C], weight and bias [C]
void rms_norm(const Contract& c) {
  const Operand x = c[op::RmsNorm::kX], out = c[op::RmsNorm::kOut];
  c.most(x, x.columns(), kMostChannels, "channels");
  c.shape(c[op::RmsNorm::kWeight], {x.columns()});
  c.shape(c[op::RmsNorm::kBias], {x.columns()});
  c.same_shape(out, x);
  c.same_shape(c[op::RmsNorm::kResidual], x);
  c.same_dtype(c[op::RmsNorm::kResidual], out);
}

// qkv [B, N, 3C], out [B, N, C]
void linear_attention(const Contract& c) {
  const Operand qkv = c[op::LinearAttention::kQkv];
  c.rank(qkv, 3, "[B, N, 3C]");
  c.demand(qkv[2] % 3 == 0, "qkv must have three times the channels of out");
  const int64_t channels = qkv[2] / 3;
  c.most(qkv, channels, kMostChannels, "channels of each third");
  c.demand(divides(c.integer(op::LinearAttention::kHeadDim), channels),
           "headDim must divide a third of qkv's channels");
  c.shape(c[op::LinearAttention::kOut], {qkv[0], qkv[1], channels});
}

// q and out [B, N, C], k and v [T, C]
void cross_attention(const Contract& c) {
  const Operand q = c[op::CrossAttention::kQ], k = c[op::CrossAttention::kK], v = c[op::CrossAttention::kV];
  c.rank(q, 3, "[B, N, C]");
  c.rank(k, 2, "[T, C]");
  c.most(q, q[2], kMostChannels, "channels");
  const int64_t heads = c.integer(op::CrossAttention::kHeads);
  c.demand(divides(heads, q[2]), "heads must divide the channels of q");
  c.most(q, q[2] / heads, kMostHeadDim, "channels of a head");
  c.shape(k, {k[0], q[2]});
  c.shape(v, {k[0], q[2]});
  c.same_dtype(k, q);
  c.same_dtype(v, q);
  c.same_shape(c[op::CrossAttention::kOut], q);
  c.lengths(q[0], k[0]);
}

// qkv [T, (heads + 2 kvHeads) D], prefix [P, 2 kvHeads D], out [T, heads D]
void causal_attention(const Contract& c) {
  const Operand qkv = c[op::CausalAttention::kQkv], prefix = c[op::CausalAttention::kPrefix];
  c.rank(qkv, 2, "[T, (heads + 2 kvHeads) D]");
  const int64_t heads = c.integer(op::CausalAttention::kHeads), kv_heads = c.integer(op::CausalAttention::kKvHeads);
  c.demand(divides(kv_heads, heads), "kvHeads must divide heads");
  c.demand(divides(heads + 2 * kv_heads, qkv[1]), "heads + 2 kvHeads must divide the columns of qkv");
  const int64_t head_dim = qkv[1] / (heads + 2 * kv_heads);
  c.most(qkv, head_dim, kMostHeadDim, "channels of a head");
  c.most(qkv, heads * head_dim, kMostChannels, "channels of q");
  if (prefix) {
    c.rank(prefix, 2, "[P, 2 kvHeads D]");
    c.most(prefix, prefix[0], kMostKeys, "rows");
    c.shape(prefix, {prefix[0], 2 * kv_heads * head_dim});
  }
  c.same_dtype(prefix, qkv);
  c.shape(c[op::CausalAttention::kOut], {qkv[0], heads * head_dim});
  c.lengths(0, qkv[0]);
}

// x and out [T, C], cos and sin [T, D/2]
void rotary_embedding(const Contract& c) {
  const Operand x = c[op::RotaryEmbedding::kX], cos = c[op::RotaryEmbedding::kCos];
  c.rank(x, 2, "[T, C]");
  c.rank(cos, 2, "[T, D/2]");
  c.most(x, x[1], kMostLinearSize, "channels");
  c.most(cos, 2 * cos[1], kMostHeadDim, "channels of a head");
  c.shape(cos, {x[0], cos[1]});
  c.shape(c[op::RotaryEmbedding::kSin], {x[0], cos[1]});
  c.demand(c.integer(op::RotaryEmbedding::kHeads) * 2 * cos[1] <= x[1],
           "x must have room for `heads` heads of D channels");
  c.same_shape(c[op::RotaryEmbedding::kOut], x);
}

// timestep [B], out [B, C]
void timestep_embedding(const Contract& c) {
  const Operand timestep = c[op::TimestepEmbedding::kTimestep], out = c[op::TimestepEmbedding::kOut];
  c.rank(timestep, 1, "[B]");
  c.rank(out, 2, "[B, C]");
  c.shape(out, {timestep[0], out[1]});
  c.demand(out[1] % 2 == 0, "out must have an even number of columns");
  c.most(out, out[1], kMostChannels, "columns");
}

// table [R, C], embedding [B, rows * C], out [R, B, C]
void modulation(const Contract& c) {
  const Operand table = c[op::Modulation::kTable], embedding = c[op::Modulation::kEmbedding];
  c.rank(table, 2, "[R, C]");
  c.rank(embedding, 2, "[B, rows C]");
  c.demand(divides(table[1], embedding[1]), "embedding must have a multiple of table's columns");
  c.shape(c[op::Modulation::kOut], {table[0], embedding[0], table[1]});
}

void activation(const Contract& c) {
  c.same_shape(c[op::Activation::kOut], c[op::Activation::kX]);
}

void tanh_clamp(const Contract& c) {
  c.same_shape(c[op::TanhClamp::kOut], c[op::TanhClamp::kX]);
}

// x [A, ..., C], out [repeat * A, ..., C]
void convert(const Contract& c) {
  const Operand x = c[op::Convert::kX], out = c[op::Convert::kOut];
  const int64_t repeat = c.integer(op::Convert::kRepeat);
  c.demand(out.rank() == x.rank(), "out must have as many dimensions as x");
  c.demand(x.rank() > 1 || repeat == 1, "x must have rows to repeat");
  bool equal = out[0] == repeat * x[0];
  for (uint32_t i = 1; i < x.rank(); ++i) equal = equal && out[i] == x[i];
  c.demand(equal, "out must be x with its first dimension times `repeat`");
}

// x [B, R, C], out [B, C, R]
void transpose(const Contract& c) {
  const Operand x = c[op::Transpose::kX];
  c.rank(x, 3, "[B, R, C]");
  c.shape(c[op::Transpose::kOut], {x[0], x[2], x[1]});
}

// x [B, H, W, I], residual and out [B, f H, f W, O], f f O a multiple of I
void pixel_shuffle(const Contract& c) {
  const Operand x = c[op::PixelShuffle::kX], out = c[op::PixelShuffle::kOut];
  const int64_t f = c.integer(op::PixelShuffle::kFactor);
  c.image(x);
  c.image(out);
  c.shape(out, {x[0], f * x[1], f * x[2], out[3]});
  c.demand(divides(x[3], f * f * out[3]), "factor^2 times out's channels must be a multiple of x's");
  c.same_shape(c[op::PixelShuffle::kResidual], out);
  c.same_dtype(c[op::PixelShuffle::kResidual], out);
}

// x [B, f H, f W, I], residual and out [B, H, W, O], f f I a multiple of O
void pixel_unshuffle(const Contract& c) {
  const Operand x = c[op::PixelUnshuffle::kX], out = c[op::PixelUnshuffle::kOut];
  const int64_t f = c.integer(op::PixelUnshuffle::kFactor);
  c.image(x);
  c.image(out);
  c.shape(x, {out[0], f * out[1], f * out[2], x[3]});
  c.demand(divides(out[3], f * f * x[3]), "factor^2 times x's channels must be a multiple of out's");
  c.same_shape(c[op::PixelUnshuffle::kResidual], out);
  c.same_dtype(c[op::PixelUnshuffle::kResidual], out);
}

// velocity [B, 2B or 3B, ...], latents and previous [B, ...], coefficients [7]
void solver_step(const Contract& c) {
  const Operand velocity = c[op::SolverStep::kVelocity], latents = c[op::SolverStep::kLatents];
  c.shape(c[op::SolverStep::kCoefficients], {7});
  c.same_shape(c[op::SolverStep::kPrevious], latents);
  bool equal = velocity.rank() == latents.rank() && velocity[0] % latents[0] == 0 && velocity[0] / latents[0] <= 3;
  for (uint32_t i = 1; equal && i < latents.rank(); ++i) equal = velocity[i] == latents[i];
  c.demand(equal, "velocity must have the shape of latents, or twice or three times its batch");
}

// x [B, h, w, C], out [B, H, W, C]
void resize_crop(const Contract& c) {
  const Operand x = c[op::ResizeCrop::kX], out = c[op::ResizeCrop::kOut];
  c.image(x);
  c.image(out);
  c.shape(out, {x[0], out[1], out[2], x[3]});
  c.demand(out[1] <= c.integer(op::ResizeCrop::kResizedHeight) && out[2] <= c.integer(op::ResizeCrop::kResizedWidth),
           "out must not be larger than the resized image it is cut from");
}

// x and out [B, H, W, 3]
void to_rgb8(const Contract& c) {
  const Operand x = c[op::ToRgb8::kX];
  c.image(x);
  c.demand(x[3] == 3, "x must have 3 channels");
  c.same_shape(c[op::ToRgb8::kOut], x);
}

void count_non_finite(const Contract& c) {
  c.shape(c[op::CountNonFinite::kOut], {1});
}

#define SANA_CONTRACT(name, function) function,
constexpr void (*kContracts[])(const Contract&) = {SANA_OPERATORS(SANA_CONTRACT)};
#undef SANA_CONTRACT

}  // namespace

void check_contract(const OperatorSpec& spec, const SanaCall& call) {
  const Contract contract(spec, call);
  contract.ranges();
  kContracts[call.op](contract);
}

}  // namespace sana
