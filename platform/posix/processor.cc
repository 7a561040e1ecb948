#include "platform/processor.h"

namespace sana::platform {

// __builtin_cpu_supports also asks the system (xgetbv) whether it saves the wide registers.
ProcessorFeatures processor_features() {
  ProcessorFeatures features = {};
#if defined(__x86_64__)
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                  __builtin_cpu_supports("bmi2");
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512cd");
  features.avx512_bf16 =
      features.avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
#endif
  return features;
}

}  // namespace sana::platform
