// linear
//
//   out = clip(activation(x weight^T + bias)) * gate + residual
//   out = activation(x gate_weight^T) * (x other_weight^T)         gatedLinear weights
//
// The whole epilogue runs on sums that are still on the chip: no intermediate of shape [M, N] is ever written. x [...,
// K] and weight have the same dtype; out and residual have that dtype or f32 (any dtype if x is f32); any M, N, K and
// pitches. Copies are fast if rows of x are aligned to 16 bytes and K is a multiple of eight.
//
// If the weight is i8 or f8, then x, out and residual may have any dtype: x is first quantised into the workspace, as
// many rows at a time as fit, which is all rows except for the largest pictures. This takes a separate kernel because
// the first product of a row needs the largest element of the whole row. The quantised bytes go through L2 once. The
// tiles, which read x once per column of tiles, then read half as many bytes as with bf16.

#include "cuda/kernels/kernels.h"
#include "cuda/kernels/matrix.h"
#include "cuda/kernels/quantize_rows.h"

namespace sana::cuda {
namespace {

// Rows are quantised in multiples of the tallest tile's rows.
constexpr int64_t kPartRows = 256;

// out = the product p of x and a weight of i8 or f8; p's image and scales are set here.
void run_quantized(Product p, const View& x, const View& weight, const Stream& stream) {
  const int64_t inputs = quantized_pitch(x.columns()), all_rows = x.rows();
  const int64_t row_bytes = inputs + int64_t(sizeof(float));
  const int64_t most_rows = int64_t(stream.workspace_bytes) / row_bytes / kPartRows * kPartRows;
  const int64_t parts = divide_up(all_rows, most_rows);
  const int64_t part_rows = divide_up(divide_up(all_rows, parts), kPartRows) * kPartRows;

  const QuantizedRows quantized_x = {weight.dtype, reinterpret_cast<uint8_t*>(stream.workspace),
                                     reinterpret_cast<float*>(stream.workspace + part_rows * inputs)};
  Stream rest = stream;  // the rest of the workspace, for the sums of splits
  rest.workspace += part_rows * row_bytes;
  rest.workspace_bytes -= part_rows * row_bytes;

  p.image = quantized_x.elements;
  p.image_scales = quantized_x.scales;
  p.pitch = inputs;
  p.channels = static_cast<int>(inputs);
  p.weight_scales = quantized_weight(weight).scales;
  for (p.first_row = 0; p.first_row < all_rows; p.first_row += part_rows) {
    p.images = min(part_rows, all_rows - p.first_row);
    const char* const first = x.as<char>() + p.first_row * x.pitch * element_bytes(x.dtype);
    quantize_rows(first, x.dtype, p.images, x.columns(), x.pitch, quantized_x, stream);
    run_product(p, weight.dtype, rest);
  }
}

}  // namespace

void linear(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::Linear::kX];                // [M, K]
  const View& weight = call.operands[op::Linear::kWeight];      // [N, K] packed
  const View& bias = call.operands[op::Linear::kBias];          // [N] f32 or absent
  const View& gate = call.operands[op::Linear::kGate];          // [B, N] f32 or absent
  const View& residual = call.operands[op::Linear::kResidual];  // [M, N] or absent
  const View& out = call.operands[op::Linear::kOut];            // [M, N], or [M, N / 2] of a gatedLinear weight
  const bool gated = weight.layout == kSanaGatedLinear;

  Product p = {};
  p.image = x.data;
  p.images = x.rows();
  p.height = p.width = p.out_height = p.out_width = 1;
  p.channels = static_cast<int>(x.columns());
  p.pitch = x.pitch;
  p.kernel_height = p.kernel_width = p.stride = p.phases = 1;
  p.weights = weight.data;
  p.sums = gated ? divide_up(out.columns(), kGateColumns) * 2 * kGateColumns : out.columns();
  p.epilogue.columns = out.columns();
  p.epilogue.bias = bias.as<float>();
  p.epilogue.gate = gate.as<float>();
  p.epilogue.gate_rows = gate ? x.rows() / gate.rows() : 1;
  p.epilogue.residual = residual.data;
  p.epilogue.residual_pitch = residual.pitch;
  p.epilogue.out = out.data;
  p.epilogue.out_pitch = out.pitch;
  p.epilogue.dtype = out.dtype;
  p.epilogue.activation = call.choice<Activation>(op::Linear::kActivation);
  p.epilogue.clip = gated ? 0.0f : call.number(op::Linear::kClip);
  p.epilogue.gated = gated;
  if (is_quantized(weight.dtype)) return run_quantized(p, x, weight, stream);
  run_product(p, x.dtype, stream);
}

}  // namespace sana::cuda
