// Matrix products of bf16 on tensor cores: the kernels of matrix.cuh.

#include "cuda/kernels/matrix.cuh"

namespace sana::cuda {

template void launch_product<bf16>(const Product&, const Cut&, Source, int tile, const Stream&);
template void launch_combine<bf16>(const Product&, const Cut&, const Stream&);

}  // namespace sana::cuda
