// Guidance, the estimate of x0 and one step of a multistep solver, coefficients = [g, p, q, a, b, c, w]:
//   v = velocity, or uncond + g (cond - uncond), or that + w (cond - perturbed)
//   x0 = p latents + q v;  latents = (a latents + b x0) + c previous;  previous = x0
//
// velocity [B, 2B or 3B, N, C]: cond last, uncond before it, perturbed first; latents and previous [B, N, C] f32, read
// and written. Each product and sum is rounded, never fused: with the same coefficients the result has the reference's
// bits. Bound by memory.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void solver_step(const Arguments& arguments, Workers& workers) {
  const View& velocity = arguments.operands[op::SolverStep::kVelocity];
  const float* coefficients = arguments.operands[op::SolverStep::kCoefficients].as<float>();  // [7]
  const View& latents = arguments.operands[op::SolverStep::kLatents];
  float* x = latents.as<float>();
  float* previous = arguments.operands[op::SolverStep::kPrevious].as<float>();
  const int64_t elements = latents.rows() * latents.columns();
  const int64_t parts = velocity.shape[0] / latents.shape[0];
  const Vec g = splat(coefficients[0]), p = splat(coefficients[1]), q = splat(coefficients[2]);
  const Vec a = splat(coefficients[3]), b = splat(coefficients[4]), c = splat(coefficients[5]);
  const Vec w = splat(coefficients[6]);

  with_types(velocity, [&](const auto* from) {
    parallel_elements(workers, elements, [&](int64_t first, int64_t count) {
      for_each_vector(count, [&](int64_t n, auto lanes) {
        const int64_t i = first + n;
        const Vec cond = load(from + (parts - 1) * elements + i, lanes);
        Vec v = cond;
        if (parts > 1) {
          const Vec uncond = load(from + (parts - 2) * elements + i, lanes);
          v = uncond + g * (cond - uncond);
        }
        if (parts > 2) v = v + w * (cond - load(from + i, lanes));
        const Vec latent = load(x + i, lanes);
        const Vec x0 = p * latent + q * v;
        store(x + i, (a * latent + b * x0) + c * load(previous + i, lanes), lanes);
        store(previous + i, x0, lanes);
      });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
