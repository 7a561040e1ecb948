// Matrix products of f32, the exact mode: the kernels of matrix.cuh.

#include "cuda/kernels/matrix.cuh"

namespace sana::cuda {

template void launch_product<float>(const Product&, const Cut&, Source, int tile, const Stream&);
template void launch_combine<float>(const Product&, const Cut&, const Stream&);

}  // namespace sana::cuda
