// How a kernel distributes its work: a lambda over the workers, and one generic lambda for every combination of
// activation types.

#pragma once

#include "cpu/kernel.h"
#include "cpu/simd/lanes.h"

namespace sana::cpu::SANA_ISA {

// Runs f(task, worker) for every task in [0, tasks).
template <class F>
void parallel(Workers& workers, int64_t tasks, const F& f) {
  workers.run(
      tasks, [](void* context, int64_t task, int worker) { (*static_cast<const F*>(context))(task, worker); },
      const_cast<F*>(&f));
}

// Runs f(row, worker) for every row. A task is as many rows as have about ten thousand elements.
template <class F>
void parallel_rows(Workers& workers, int64_t rows, int64_t columns, const F& f) {
  const int64_t step = columns < 16384 ? 16384 / columns : 1;
  parallel(workers, (rows + step - 1) / step, [&](int64_t task, int worker) {
    const int64_t end = (task + 1) * step < rows ? (task + 1) * step : rows;
    for (int64_t row = task * step; row < end; ++row) f(row, worker);
  });
}

// Runs f(first, count) over consecutive pieces of `count` elements.
template <class F>
void parallel_elements(Workers& workers, int64_t count, const F& f) {
  const int64_t step = 16384;
  parallel(workers, (count + step - 1) / step, [&](int64_t task, int) {
    const int64_t first = task * step;
    f(first, count - first < step ? count - first : step);
  });
}

// Calls f with pointers to the data of one, two or three activations, each float* or bf16*.
template <class F>
SANA_INLINE void with_types(const View& a, const F& f) {
  if (a.dtype == DType::kBF16) {
    f(a.as<bf16>());
  } else {
    f(a.as<float>());
  }
}
template <class F>
SANA_INLINE void with_types(const View& a, const View& b, const F& f) {
  with_types(a, [&](auto* pa) { with_types(b, [&](auto* pb) { f(pa, pb); }); });
}
template <class F>
SANA_INLINE void with_types(const View& a, const View& b, const View& c, const F& f) {
  with_types(a, [&](auto* pa) { with_types(b, c, [&](auto* pb, auto* pc) { f(pa, pb, pc); }); });
}

// Allocates pieces of one worker's memory.
class Workspace {
 public:
  SANA_INLINE Workspace(Workers& workers, int worker) : next_(static_cast<char*>(workers.workspace(worker))) {}

  // Memory for `count` floats, starting at a cache line.
  SANA_INLINE float* floats(int64_t count) {
    float* piece = reinterpret_cast<float*>(next_);
    next_ += (count * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
    return piece;
  }

 private:
  char* next_;
};

SANA_INLINE int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
SANA_INLINE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// Converts rows of an activation to f32 rows of `padded` columns, zero beyond `columns`.
template <class T>
void load_rows(const T* x, int64_t pitch, int64_t rows, int64_t columns, float* out, int64_t padded) {
  for (int64_t row = 0; row < rows; ++row, x += pitch, out += padded) {
    for_each_vector(columns, [&](int64_t i, auto lanes) { store(out + i, load(x + i, lanes)); });
    for (int64_t i = round_up(columns, kLanes); i < padded; i += kLanes) store(out + i, zero());
  }
}

// out[c, r] = x[r, c] for f32 tiles whose sides are whole vectors; rows are `pitch` and `out_pitch` apart.
inline void transpose_tile(const float* x, int64_t pitch, int64_t rows, int64_t columns, float* out,
                           int64_t out_pitch) {
  for (int64_t r = 0; r < rows; r += kLanes) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) block[i] = load(x + (r + i) * pitch + c);
      transpose_lanes(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(out + (c + i) * out_pitch + r, block[i]);
    }
  }
}

}  // namespace sana::cpu::SANA_ISA
