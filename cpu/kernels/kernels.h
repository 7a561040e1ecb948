// One kernel per operator of core/ops.h, in the namespace of the instruction set that this translation unit is
// compiled for. table.cc lists them in the order of kOperators.

#pragma once

#include "cpu/kernel.h"

namespace sana::cpu::SANA_ISA {

// matrix products: matrix.h and the files that include it
void linear(const Arguments&, Workers&);
void conv2d(const Arguments&, Workers&);
void upsample_conv2d(const Arguments&, Workers&);

// one pass over memory each
void depthwise_conv_glu(const Arguments&, Workers&);
void multi_scale_project(const Arguments&, Workers&);
void layer_norm_modulate(const Arguments&, Workers&);
void rms_norm(const Arguments&, Workers&);
void linear_attention(const Arguments&, Workers&);
void cross_attention(const Arguments&, Workers&);
void causal_attention(const Arguments&, Workers&);
void rotary_embedding(const Arguments&, Workers&);
void timestep_embedding(const Arguments&, Workers&);
void modulation(const Arguments&, Workers&);
void activation(const Arguments&, Workers&);
void convert(const Arguments&, Workers&);
void transpose(const Arguments&, Workers&);
void pixel_shuffle(const Arguments&, Workers&);
void pixel_unshuffle(const Arguments&, Workers&);
void solver_step(const Arguments&, Workers&);
void resize_crop(const Arguments&, Workers&);
void to_rgb8(const Arguments&, Workers&);
void count_non_finite(const Arguments&, Workers&);

extern const Kernel kKernels[];

// A fixed number of register-only multiply-adds on all workers; return twice how many they were.
double run_peak_f32(Workers&);
double run_peak_bf16(Workers&);
double run_peak_i8(Workers&);

}  // namespace sana::cpu::SANA_ISA
