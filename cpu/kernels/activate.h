// The `activation` attribute on vectors.

#pragma once

#include "core/generated/operators.h"
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
