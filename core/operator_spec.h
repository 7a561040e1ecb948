// A row of the operator table in C++. The rows are in core/generated/operators.h.

#pragma once

#include <stdint.h>

#include "core/backend.h"
#include "core/dtypes.h"

namespace sana {

struct OperandSpec {
  const char* name;
  const char* role;  // "in", "out", "in?" (may be absent), "inout"
  uint32_t dtypes;   // bits of DTypes
  const char*
      layout;  // "dense", "pitched" (dense, columns of a wider tensor allowed), or the packed layouts it may have
};

inline constexpr double kUnlimited = __builtin_inf();

struct AttributeSpec {
  const char* name = nullptr;
  // "integer", "number", "list" (of integers), or the choices, "none|silu|relu", which are passed as an index.
  const char* kind = nullptr;
  double least = -kUnlimited, most = kUnlimited;  // bounds of a number, or of every entry of a list
};

struct OperatorSpec {
  const char* name;
  OperandSpec operands[kSanaMaxOperands + 1];        // ends with a null name
  AttributeSpec attributes[kSanaMaxAttributes + 1];  // ends with a null name
  const char* in_place;                              // the inputs that the output may overwrite: "x|residual", or ""
};

}  // namespace sana
