// Operators without a kernel yet.
#include "binding/error.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
#define UNWRITTEN(name)                                                       \
  void name(const Call&, const Stream&) {                                     \
    throw Error("ERR_SANA_PROGRAM", "the CUDA backend has no " #name " yet"); \
  }
UNWRITTEN(linear)
UNWRITTEN(conv2d)
UNWRITTEN(upsample_conv2d)
UNWRITTEN(linear_attention)
UNWRITTEN(cross_attention)
UNWRITTEN(causal_attention)
UNWRITTEN(rotary_embedding)
}  // namespace sana::cuda
