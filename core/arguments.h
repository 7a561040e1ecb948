// The arguments of a call as a kernel of any backend gets them: operands with their addresses, and attributes. CPU
// kernels include this header once per instruction set, so members are always inlined and nothing here is a std::
// template.

#pragma once

#include <stdint.h>

#include "core/backend.h"
#include "core/dtypes.h"

namespace sana {

// An operand with its address. An absent operand has null data. Every translation unit compiles the members for its own
// instruction set, so the linker must never merge them: they are always inlined.
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

// One call of an operator, all contracts checked. Operands and attributes are named: `operands[op::Linear::kWeight]`,
// `number(op::Linear::kClip)` (core/generated/operators.h).
struct Arguments {
  View operands[kSanaMaxOperands];
  double attributes[kSanaMaxAttributes];
  const int64_t* list;  // the value of the attribute of kind "list"
  int64_t list_length;

  [[gnu::always_inline]] float number(int attribute) const { return static_cast<float>(attributes[attribute]); }
  [[gnu::always_inline]] int64_t integer(int attribute) const { return static_cast<int64_t>(attributes[attribute]); }
  template <class Choice>
  [[gnu::always_inline]] Choice choice(int attribute) const {
    return static_cast<Choice>(static_cast<int>(attributes[attribute]));
  }
};

[[gnu::always_inline]] inline View view(const SanaTensor& tensor, void* data) {
  View view = {};
  view.data = data;
  view.dtype = static_cast<DType>(tensor.dtype);
  view.layout = tensor.layout;
  view.rank = tensor.rank;
  for (int i = 0; i < kSanaMaxRank; ++i) view.shape[i] = tensor.shape[i];
  view.pitch = tensor.pitch;
  return view;
}

}  // namespace sana
