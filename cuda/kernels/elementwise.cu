// Elementwise operators.
//
//   activation  out = activation(x)                             x and out of equal shapes
//   tanhClamp   out = limit * tanh(x / limit)                   x and out of equal shapes
//   convert     out = x * scale, x's rows `repeat` times over   x [A, ..., C], out [repeat A, ..., C], columns of wider
//                                                               tensors
//
// A thread takes eight elements of a row at a time, or one if rows do not start at multiples of eight. Bound by memory:
// x is read once, out is written once.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;

// ---- functions of one element -------------------------------------------------------------------------------------

struct Activate {
  Activation function;
  __device__ __forceinline__ float operator()(float x) const { return activate(function, x); }
};

struct TanhClamp {
  float limit;
  __device__ __forceinline__ float operator()(float x) const { return limit * tanhf(x / limit); }
};

struct Scale {
  float scale;
  __device__ __forceinline__ float operator()(float x) const { return x * scale; }
};

// ---- kernels -------------------------------------------------------------------------------------------------------

template <int N, class X, class Out, class Function>
__global__ void __launch_bounds__(kThreads)
    map_kernel(const X* x,  // [x_rows, C], rows x_pitch apart
               Out* out,    // [rows, C], rows out_pitch apart
               int64_t x_rows, int64_t rows, int64_t columns, int64_t x_pitch, int64_t out_pitch, Function function) {
  const int64_t groups = columns / N;
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < rows * groups; i += stride) {
    const int64_t row = i / groups, column = i % groups * N;
    float values[N];
    load<N>(x + row % x_rows * x_pitch + column, values);
#pragma unroll
    for (int j = 0; j < N; ++j) values[j] = function(values[j]);
    store<N>(out + row * out_pitch + column, values);
  }
}

// ---- launchers -----------------------------------------------------------------------------------------------------

// out = function(x), with the rows of x repeated to fill out
template <class Function>
void map(const View& x, const View& out, Function function, const Stream& stream) {
  const bool wide = vector_rows(8, {&x, &out});
  const int64_t work = out.rows() * out.columns() / (wide ? 8 : 1);
  const unsigned blocks = static_cast<unsigned>(min(divide_up(work, kThreads), int64_t(stream.multiprocessors) * 16));
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    launch(stream.handle, wide ? map_kernel<8, X, Out, Function> : map_kernel<1, X, Out, Function>, blocks, kThreads, 0,
           x.as<X>(), out.as<Out>(), x.rows(), out.rows(), x.columns(), x.pitch, out.pitch, function);
  });
}

}  // namespace

void activation(const Call& call, const Stream& stream) {
  map(call.operands[op::Activation::kX], call.operands[op::Activation::kOut],
      Activate{call.choice<Activation>(op::Activation::kActivation)}, stream);
}

void tanh_clamp(const Call& call, const Stream& stream) {
  map(call.operands[op::TanhClamp::kX], call.operands[op::TanhClamp::kOut],
      TanhClamp{call.number(op::TanhClamp::kLimit)}, stream);
}

void convert(const Call& call, const Stream& stream) {
  map(call.operands[op::Convert::kX], call.operands[op::Convert::kOut], Scale{call.number(op::Convert::kScale)},
      stream);
}

}  // namespace sana::cuda
