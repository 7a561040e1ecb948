// The kernels in the order of kOperators (core/ops.h).

#include "cuda/kernels/kernels.h"

namespace sana::cuda {

const Kernel kKernels[] = {
    linear,      conv2d,           upsample_conv2d, depthwise_conv_glu, multi_scale_project, layer_norm_modulate,
    rms_norm,    linear_attention, cross_attention, causal_attention,   rotary_embedding,    timestep_embedding,
    modulation,  activation,       convert,         transpose,          pixel_shuffle,       pixel_unshuffle,
    solver_step, resize_crop,      to_rgb8,         count_non_finite,
};

static_assert(sizeof kKernels / sizeof kKernels[0] == kOperatorCount, "one kernel per operator of core/ops.h");

}  // namespace sana::cuda
