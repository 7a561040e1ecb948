// Operators that treat every element alike, each bound by memory.
//
//   activation  out = activation(x)                            x and out of equal shapes
//   convert     out = x * scale, x's rows `repeat` times over   x [A, ..., C], out [repeat A, ..., C], columns of wider
//                                                               tensors

#include "cpu/kernels/activate.h"
#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void activation(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[0];
  const View& out = arguments.operands[1];
  const Activation function = static_cast<Activation>(static_cast<int>(arguments.attributes[0]));

  with_types(x, out, [&](const auto* from, auto* to) {
    parallel_elements(workers, x.rows() * x.columns(), [&](int64_t first, int64_t count) {
      for_each_vector(count, [&](int64_t i, auto lanes) {
        store(to + first + i, activate(function, load(from + first + i, lanes)), lanes);
      });
    });
  });
}

void convert(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[0];
  const View& out = arguments.operands[1];
  const Vec scale = splat(static_cast<float>(arguments.attributes[0]));
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
