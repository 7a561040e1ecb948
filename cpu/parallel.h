// How a kernel spreads its work: a lambda over the workers, and one lambda for both activation types.

#pragma once

#include "cpu/kernel.h"
#include "cpu/simd.h"

namespace sana::cpu::SANA_ISA {

// Runs f(task, worker) for every task in [0, tasks).
template <class F>
void parallel(Workers& workers, int64_t tasks, const F& f) {
  workers.run(
      tasks, [](void* context, int64_t task, int worker) { (*static_cast<const F*>(context))(task, worker); },
      const_cast<F*>(&f));
}

// Runs f(first, last, worker) over ranges of `step` of the `count` items.
template <class F>
void parallel_ranges(Workers& workers, int64_t count, int64_t step, const F& f) {
  parallel(workers, (count + step - 1) / step, [&](int64_t task, int worker) {
    const int64_t first = task * step;
    f(first, first + step < count ? first + step : count, worker);
  });
}

// Calls f with a null pointer to the element type of an activation: f(static_cast<float*>(nullptr)) or bf16.
template <class F>
void for_activation_type(const View& view, const F& f) {
  if (view.dtype == DType::kBF16) {
    f(static_cast<bf16*>(nullptr));
  } else {
    f(static_cast<float*>(nullptr));
  }
}

}  // namespace sana::cpu::SANA_ISA
