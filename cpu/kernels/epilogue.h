// The epilogue of a matrix product, applied to finished sums while they are in cache, in f32:
//
//   out = clip(activation(sum + bias)) * gate + residual
//   out = activation(gate half) * other half                  gated weights
//
// then the result is rounded once to the dtype of `out`.

#pragma once

#include "core/generated/operators.h"
#include "cpu/kernels/activate.h"
#include "cpu/pack.h"
#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

struct Epilogue {
  int64_t columns;       // columns of out
  const float* bias;     // [columns] or null
  const float* gate;     // [B, columns] or null
  int64_t gate_rows;     // rows of out that share a row of gate
  const void* residual;  // [rows, columns], dtype of out, or null
  int64_t residual_pitch;
  void* out;  // [rows, columns]
  int64_t out_pitch;
  Activation activation;
  float clip;  // 0: no clipping
  bool gated;  // the weights are gatedLinear

  int panel_columns() const { return gated ? kGateColumns : kPanelColumns; }
};

// Finishes the sums of one row of a panel, which are the columns from `column` of out.
template <class Out>
static void finish_row(const Epilogue& e, int64_t row, int64_t column, const float* sums) {  // sums [32]
  const int64_t left = e.columns - column;
  Out* out = static_cast<Out*>(e.out) + row * e.out_pitch + column;
  if (e.gated) {
    for_each_vector(left < kGateColumns ? left : kGateColumns, [&](int64_t j, auto lanes) {
      store(out + j, activate(e.activation, load(sums + j)) * load(sums + kGateColumns + j), lanes);
    });
    return;
  }
  const float* bias = e.bias ? e.bias + column : nullptr;
  const float* gate = e.gate ? e.gate + row / e.gate_rows * e.columns + column : nullptr;
  const Out* residual = e.residual ? static_cast<const Out*>(e.residual) + row * e.residual_pitch + column : nullptr;
  for_each_vector(left < kPanelColumns ? left : kPanelColumns, [&](int64_t j, auto lanes) {
    Vec x = load(sums + j);
    if (bias) x = x + load(bias + j, lanes);
    x = activate(e.activation, x);
    if (e.clip > 0) x = max(splat(-e.clip), min(splat(e.clip), x));
    if (gate) x = x * load(gate + j, lanes);
    if (residual) x = x + load(residual + j, lanes);
    store(out + j, x, lanes);
  });
}

}  // namespace sana::cpu::SANA_ISA
