// The instruction sets that the kernels are compiled for, and the choice of one when a device is opened.

#pragma once

#include "cpu/kernel.h"
#include "platform/processor.h"

namespace sana::cpu {

struct Path {
  const char* name;
  const Kernel* kernels;  // in the order of kOperators
  double (*run_peak_f32)(Workers&);
  double (*run_peak_bf16)(Workers&);
  double (*run_peak_i8)(Workers&);
  bool (*supported)(const platform::ProcessorFeatures&);
  bool fast_bf16;  // products of bf16 have instructions of their own
};

// The path named by `forced`, or where that is null or empty the best that this processor and system support.
// Throws ERR_SANA_DEVICE with the choices when the name is unknown or the path is not supported here.
const Path& choose_path(const char* forced);

}  // namespace sana::cpu
