// What the processor can do, of what decides between code paths.

#pragma once

namespace sana::platform {

// Instructions that the processor has and whose registers the system saves.
struct ProcessorFeatures {
  bool avx2;         // with FMA, F16C and BMI2
  bool avx512;       // F, BW, DQ, VL and CD
  bool avx512_bf16;  // with VNNI, which is older: every processor with bf16 has it
};

ProcessorFeatures processor_features();

}  // namespace sana::platform
