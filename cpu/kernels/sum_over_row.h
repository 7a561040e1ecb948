// A sum over a row, added in an order that depends on its length alone.

#pragma once

#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

// sum_c term(x[c]). Four running sums hide the latency of the addition.
template <class T, class F>
SANA_INLINE float sum_over_row(const T* x, int64_t columns, const F& term) {
  Vec a = zero(), b = zero(), c = zero(), d = zero();
  int64_t i = 0;
  for (; i + 4 * kLanes <= columns; i += 4 * kLanes) {
    a = a + term(load(x + i));
    b = b + term(load(x + i + kLanes));
    c = c + term(load(x + i + 2 * kLanes));
    d = d + term(load(x + i + 3 * kLanes));
  }
  for_each_vector(columns - i, [&](int64_t j, auto lanes) { a = a + keep(term(load(x + i + j, lanes)), lanes); });
  return sum((a + b) + (c + d));
}

}  // namespace sana::cpu::SANA_ISA
