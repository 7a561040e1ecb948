// Guidance, the estimate of x0 and one step of a multistep solver, coefficients = [g, p, q, a, b, c, w]:
//   v = velocity, or uncond + g (cond - uncond), or that + w (cond - perturbed)
//   x0 = p latents + q v;  latents = (a latents + b x0) + c previous;  previous = x0
//
// velocity [B, 2B or 3B, N, C]: cond last, uncond before it, perturbed first; coefficients [7] f32, latents and
// previous [B, N, C] f32, read and written. Each product and sum is rounded, never fused: with the same coefficients
// the result has the reference's bits. One thread per element. Bound by memory.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X>
__global__ void __launch_bounds__(kThreads)
    solver_step_kernel(const X* __restrict__ velocity,          // [parts, elements]: perturbed, uncond, cond
                       const float* __restrict__ coefficients,  // [7]
                       float* __restrict__ latents,             // [elements]
                       float* __restrict__ previous,            // [elements]
                       int64_t elements, int parts) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= elements) return;
  const float g = coefficients[0], p = coefficients[1], q = coefficients[2];
  const float a = coefficients[3], b = coefficients[4], c = coefficients[5];
  const float latent = latents[i];
  const float cond = to_float(velocity[(parts - 1) * elements + i]);
  float v = cond;
  if (parts > 1) {
    const float uncond = to_float(velocity[(parts - 2) * elements + i]);
    v = uncond + __fmul_rn(g, cond - uncond);
  }
  if (parts > 2) v += __fmul_rn(coefficients[6], cond - to_float(velocity[i]));
  const float x0 = __fmul_rn(p, latent) + __fmul_rn(q, v);
  latents[i] = (__fmul_rn(a, latent) + __fmul_rn(b, x0)) + __fmul_rn(c, previous[i]);
  previous[i] = x0;
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void solver_step(const Call& call, const Stream& stream) {
  const View& velocity = call.operands[op::SolverStep::kVelocity];          // [B, 2B or 3B, N, C]
  const View& coefficients = call.operands[op::SolverStep::kCoefficients];  // [7]
  const View& latents = call.operands[op::SolverStep::kLatents];            // [B, N, C]
  const View& previous = call.operands[op::SolverStep::kPrevious];          // [B, N, C]
  const int64_t elements = latents.rows() * latents.columns();
  with_type(velocity.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    launch(stream.handle, solver_step_kernel<X>, grid_size(divide_up(elements, kThreads)), kThreads, 0,
           velocity.as<X>(), coefficients.as<float>(), latents.as<float>(), previous.as<float>(), elements,
           static_cast<int>(velocity.shape[0] / latents.shape[0]));
  });
}

}  // namespace sana::cuda
