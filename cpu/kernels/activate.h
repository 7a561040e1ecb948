// The `activation` attribute (kActivations in core/ops.h) on vectors.

#pragma once

#include "core/ops.h"
#include "cpu/simd/functions.h"

namespace sana::cpu::SANA_ISA {

SANA_INLINE Vec activate(Activation activation, Vec x) {
  switch (activation) {
    case Activation::kSilu:
      return silu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kRelu:
      return relu(x);
    case Activation::kNone:
      break;
  }
  return x;
}

}  // namespace sana::cpu::SANA_ISA
