// Elementwise operators, each bound by memory.
//
//   activation  out = activation(x)                            x and out of equal shapes
//   tanhClamp   out = limit * tanh(x / limit)                  x and out of equal shapes
//   convert     out = x * scale, x's rows `repeat` times over   x [A, ..., C], out [repeat A, ..., C], columns of wider
//                                                               tensors

#include "cpu/kernels/activate.h"
#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

// out = function(x)
template <class Function>
static void map(const View& x, const View& out, Workers& workers, const Function& function) {
  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_elements(workers, x.rows() * x.columns(), [&](int64_t first, int64_t count) {
      for_each_vector(
          count, [&](int64_t i, auto lanes) { store(to + first + i, function(load(from + first + i, lanes)), lanes); });
    });
  });
}

void activation(const Arguments& arguments, Workers& workers) {
  const Activation function = arguments.choice<Activation>(op::Activation::kActivation);
  map(arguments.operands[op::Activation::kX], arguments.operands[op::Activation::kOut], workers,
      [=](Vec x) { return activate(function, x); });
}

void tanh_clamp(const Arguments& arguments, Workers& workers) {
  const Vec limit = splat(arguments.number(op::TanhClamp::kLimit));
  map(arguments.operands[op::TanhClamp::kX], arguments.operands[op::TanhClamp::kOut], workers,
      [=](Vec x) { return limit * tanh(x / limit); });
}

void convert(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::Convert::kX];
  const View& out = arguments.operands[op::Convert::kOut];
  const Vec scale = splat(arguments.number(op::Convert::kScale));
  const int64_t columns = x.columns(), rows = x.rows();

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_rows(workers, out.rows(), columns, [&](int64_t row, int) {
      const auto* in = from + row % rows * x.pitch;
      auto* result = to + row * out.pitch;
      for_each_vector(columns, [&](int64_t c, auto lanes) { store(result + c, load(in + c, lanes) * scale, lanes); });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
