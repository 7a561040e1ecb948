// The epilogue of a matrix product, applied to finished sums while they are on the chip, in f32:
//
//   out = clip(activation(sum + bias)) * gate + residual
//   out = activation(gate half) * other half                  gated weights
//
// then the result is rounded once to the dtype of `out`. Works on eight columns of a row at a time: 16 bytes of bf16 or
// f16. Which operands are present is the same for every thread, so it is tested at run time, without an instance per
// combination.

#pragma once

#include "cuda/element.h"
#include "cuda/pack.h"

namespace sana::cuda {

inline constexpr int kGroup = kGateColumns;  // columns that a thread finishes together

struct Epilogue {
  int64_t columns;       // columns of out
  const float* bias;     // [columns] or null
  const float* gate;     // [B, columns] or null
  int64_t gate_rows;     // rows of out that share a row of gate
  const void* residual;  // [rows, columns], dtype of out, or null; may be `out`
  int64_t residual_pitch;
  void* out;  // [rows, columns]
  int64_t out_pitch;
  DType dtype;  // of out and residual
  Activation activation;
  float clip;    // 0: no clipping, as with gated weights
  bool gated;    // sums are alternating groups of eight columns: the gate half's, the other half's
  bool vectors;  // in every operand, whole groups start at multiples of 16 bytes
};

// Finishes the group of out at (row, column). values: its sums; others: with gated weights, the sums of the other half.
template <class Out>
__device__ __forceinline__ void finish_group_as(const Epilogue& e, int64_t row, int64_t column, float (&values)[kGroup],
                                                const float (&others)[kGroup]) {
  const bool whole = e.vectors && column + kGroup <= e.columns;
  const int count = static_cast<int>(min(e.columns - column, int64_t(kGroup)));

  // Adds or multiplies by an operand's elements of this group.
  const auto with = [&](const auto* operand, auto combine) {
    if (whole) {
      float others[kGroup];
      load<kGroup>(operand, others);
#pragma unroll
      for (int i = 0; i < kGroup; ++i) values[i] = combine(values[i], others[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        if (i < count) values[i] = combine(values[i], to_float(operand[i]));
      }
    }
  };
  const auto plus = [](float a, float b) { return a + b; };
  const auto times = [](float a, float b) { return a * b; };

  if (e.bias) with(e.bias + column, plus);
  if (e.activation != Activation::kNone) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) values[i] = activate(e.activation, values[i]);
  }
  if (e.gated) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) values[i] *= others[i];
  }
  if (e.clip > 0.0f) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
      values[i] = values[i] < -e.clip ? -e.clip : values[i] > e.clip ? e.clip : values[i];
  }
  if (e.gate) with(e.gate + row / e.gate_rows * e.columns + column, times);
  if (e.residual) with(static_cast<const Out*>(e.residual) + row * e.residual_pitch + column, plus);
  Out* const out = static_cast<Out*>(e.out) + row * e.out_pitch + column;
  if (whole) {
    store<kGroup>(out, values);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (i < count) out[i] = from_float<Out>(values[i]);
    }
  }
}

// The same for the dtypes that out may have if x has type T. With i8, x may have been any activation dtype, so out may
// have all.
template <class T>
__device__ __forceinline__ void finish_group(const Epilogue& e, int64_t row, int64_t column, float (&values)[kGroup],
                                             const float (&others)[kGroup]) {
  if (e.dtype == DType::kF32) return finish_group_as<float>(e, row, column, values, others);
  if constexpr (sizeof(T) != 2) {
    if (e.dtype == DType::kBF16) return finish_group_as<bf16>(e, row, column, values, others);
    finish_group_as<f16>(e, row, column, values, others);
  } else {
    finish_group_as<T>(e, row, column, values, others);
  }
}

}  // namespace sana::cuda
