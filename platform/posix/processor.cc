#include "platform/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sana::platform {

// __builtin_cpu_supports also checks (xgetbv) that the system saves the wide registers. Clang 16's does not know F16C.
ProcessorFeatures processor_features() {
  ProcessorFeatures features = {};
#if defined(__x86_64__)
  __builtin_cpu_init();
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
  features.avx2 =
      f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512cd");
  features.avx512_bf16 =
      features.avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#endif
  return features;
}

}  // namespace sana::platform
