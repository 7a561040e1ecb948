// out = round_half_even(clamp(x / 2 + 1/2, 0, 1) * 255), NaN gives 0
//
// x [B, H, W, 3], out the same, u8. Bound by memory.

#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"
#include "cpu/simd/functions.h"

namespace sana::cpu::SANA_ISA {

void to_rgb8(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::ToRgb8::kX];
  uint8_t* out = arguments.operands[op::ToRgb8::kOut].as<uint8_t>();

  with_types(x, [&](const auto* from) {
    parallel_elements(workers, x.rows() * x.columns(), [&](int64_t first, int64_t count) {
      for_each_vector(count, [&](int64_t i, auto lanes) {
        const Vec unit = load(from + first + i, lanes) * splat(0.5f) + splat(0.5f);
        const Vec clamped = min(max(unit, zero()), splat(1.0f));  // NaN becomes 0
        float levels[kLanes];
        store(levels, round_to_integer(clamped * splat(255.0f)));
        for (int64_t n = 0; n < smaller(kLanes, count - i); ++n) out[first + i + n] = static_cast<uint8_t>(levels[n]);
      });
    });
  });
}

}  // namespace sana::cpu::SANA_ISA
