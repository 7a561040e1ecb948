// Cases: operator calls as lines of text. Operands and attributes have the names of the operator table. Omitted
// attributes are 0, or the first of their choices.
//
//   linear x[2,300,1152] weight:linear[5760,1152] bias[5760] out[2,300,5760] activation=silu
//   linear x[66,1152]@1160+3 weight:linear[32,1152] out:f32[66,32]
//
//   name[sizes]             has the only dtype that the table allows, or else the dtype of the run
//   name:word[sizes]        the word is f32, bf16, f16, i8 or f8; `other`, bf16 in a run of f32 and f32 in others; or a
//                           layout
//   ...@pitch+first         rows are `pitch` elements apart, and the first begins at element `first` (if given)
//   flops= count= group=    for benchmarks: the work of the call, how often a model makes it, and the model
//
// A `#` begins a comment.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/generated/operators.h"

namespace sana::kernels {

struct Case {
  std::string where;  // file:line
  std::string text;   // without the values for benchmarks
  SanaCall call;  // as written: dtypes may be placeholders for the run's, an offset counts elements; its list is `list`
  std::vector<int64_t> list;
  double flops = 0;  // 0: unknown
  int64_t count = 1;
  std::string group;

  const OperatorSpec& spec() const { return kOperators[call.op]; }
  // The call in a run of this dtype. Offsets of operands are 0 plus their `first`, in bytes. Points into this case.
  SanaCall in(SanaDType run) const;
  // The call that the reference computes: the same with f32 instead of every activation dtype and of i8 and f8.
  SanaCall in_f32() const;
  // Whether it is the same call whatever the run's dtype.
  bool fixed() const;
};

// Throws ERR_SANA_FILE with the file, the line and the problem.
std::vector<Case> read_cases(const std::string& path);

// "a,b" at ',' -> {"a", "b"}
std::vector<std::string> split(const std::string& text, char separator);

SanaDType dtype_named(const std::string& name);  // throws ERR_SANA_FILE

}  // namespace sana::kernels
