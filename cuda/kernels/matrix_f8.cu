// Matrix products of quantised rows of f8 on tensor cores, for compute capability 8.9 or later: the kernels of
// matrix.cuh.

#include "cuda/kernels/matrix.cuh"

namespace sana::cuda {

template void launch_product<f8>(const Product&, const Cut&, Source, int tile, const Stream&);
template void launch_combine<f8>(const Product&, const Cut&, const Stream&);

}  // namespace sana::cuda
