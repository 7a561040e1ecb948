// Operators without a kernel yet.
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
#define UNWRITTEN(name)                                                       \
  void name(const Call&, const Stream&) {                                     \
    throw Error("ERR_SANA_PROGRAM", "the CUDA backend has no " #name " yet"); \
  }
UNWRITTEN(linear_attention)
UNWRITTEN(cross_attention)
UNWRITTEN(causal_attention)
UNWRITTEN(depthwise_conv_glu)
UNWRITTEN(multi_scale_project)
UNWRITTEN(layer_norm_modulate)
UNWRITTEN(rms_norm)
UNWRITTEN(rotary_embedding)
UNWRITTEN(timestep_embedding)
UNWRITTEN(modulation)
UNWRITTEN(transpose)
UNWRITTEN(pixel_shuffle)
UNWRITTEN(pixel_unshuffle)
UNWRITTEN(solver_step)
UNWRITTEN(resize_crop)
UNWRITTEN(to_rgb8)
UNWRITTEN(count_non_finite)
}  // namespace sana::cuda
