// The code paths, one per instruction set that the kernels are compiled for, and the choice of one when a device is
// opened.

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
  bool fast_bf16;  // there are instructions for bf16 products
};

// The path named by `forced`, or, if that is null or empty, the best path that this processor and system support.
// Throws ERR_SANA_DEVICE with the choices if the name is unknown or the path is unsupported here.
const Path& choose_path(const char* forced);

}  // namespace sana::cpu
