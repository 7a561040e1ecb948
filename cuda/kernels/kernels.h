// One function per operator of core/ops.h; table.cc lists them in the order of kOperators.

#pragma once

#include "cuda/kernel.h"

namespace sana::cuda {

// matrix products on tensor cores: matrix.cuh and the files that include it
void linear(const Call&, const Stream&);
void conv2d(const Call&, const Stream&);
void upsample_conv2d(const Call&, const Stream&);

// attention
void linear_attention(const Call&, const Stream&);
void cross_attention(const Call&, const Stream&);
void causal_attention(const Call&, const Stream&);

// one pass over memory each
void depthwise_conv_glu(const Call&, const Stream&);
void multi_scale_project(const Call&, const Stream&);
void layer_norm_modulate(const Call&, const Stream&);
void rms_norm(const Call&, const Stream&);
void rotary_embedding(const Call&, const Stream&);
void timestep_embedding(const Call&, const Stream&);
void modulation(const Call&, const Stream&);
void activation(const Call&, const Stream&);
void convert(const Call&, const Stream&);
void transpose(const Call&, const Stream&);
void pixel_shuffle(const Call&, const Stream&);
void pixel_unshuffle(const Call&, const Stream&);
void solver_step(const Call&, const Stream&);
void resize_crop(const Call&, const Stream&);
void to_rgb8(const Call&, const Stream&);
void count_non_finite(const Call&, const Stream&);

extern const Kernel kKernels[];

// A fixed number of register-only multiply-adds on the whole device; return twice how many they were.
double run_peak_f32(const Stream&);
double run_peak_bf16(const Stream&);
double run_peak_i8(const Stream&);

}  // namespace sana::cuda
