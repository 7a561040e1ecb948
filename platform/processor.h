// The processor features that decide between code paths.

#pragma once

namespace sana::platform {

// A feature counts if the processor has the instructions and the system saves their registers.
struct ProcessorFeatures {
  bool avx2;         // with FMA, F16C and BMI2
  bool avx512;       // F, BW, DQ, VL and CD
  bool avx512_bf16;  // with VNNI, which is older and present in every processor with bf16
};

ProcessorFeatures processor_features();

}  // namespace sana::platform
