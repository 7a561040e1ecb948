// What a CPU kernel sees. This header and everything it names is compiled once per instruction set, inside
// sana::cpu::SANA_ISA: nothing of one instruction set may be linked into another, so kernels use no std:: templates.

#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cpu/workers.h"

namespace sana::cpu {

enum class DType : uint32_t { kF32, kBF16, kF16, kI32, kU8 };

// An operand with its address. Absent operands have no data. Every translation unit compiles the members with its own
// instruction set, so they must never be shared by the linker: always inlined.
struct View {
  void* data;
  DType dtype;
  uint32_t layout;
  uint32_t rank;
  int64_t shape[4];
  int64_t pitch;  // elements between rows of the last dimension

  [[gnu::always_inline]] explicit operator bool() const { return data != nullptr; }
  [[gnu::always_inline]] int64_t columns() const { return shape[rank - 1]; }
  [[gnu::always_inline]] int64_t rows() const {
    int64_t n = 1;
    for (uint32_t i = 0; i + 1 < rank; ++i) n *= shape[i];
    return n;
  }
  template <class T>
  [[gnu::always_inline]] T* as() const {
    return static_cast<T*>(data);
  }
};

// One call of an operator: operands and attributes in the order of its entry in binding/ops.h, all contracts checked.
struct Arguments {
  View operands[8];
  double attributes[8];
  const int64_t* list;
  int64_t list_length;
};

using Kernel = void (*)(const Arguments&, Workers&);

}  // namespace sana::cpu
