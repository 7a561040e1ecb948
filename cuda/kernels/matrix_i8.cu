// Matrix products of quantised rows of i8 on tensor cores: the kernels of matrix.cuh.

#include "cuda/kernels/matrix.cuh"

namespace sana::cuda {

template void launch_product<int8_t>(const Product&, const Cut&, Source, int tile, const Stream&);
template void launch_combine<int8_t>(const Product&, const Cut&, const Stream&);

}  // namespace sana::cuda
