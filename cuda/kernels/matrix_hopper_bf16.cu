// Matrix products of bf16 on the sm_90a path: the kernel of matrix_hopper.cuh.

#include "cuda/kernels/matrix_hopper.cuh"

namespace sana::cuda {

template void launch_hopper_product<bf16>(const Product&, const Cut&, Source, int tile, const Stream&);

}  // namespace sana::cuda
