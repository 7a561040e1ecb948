#include "cuda/tensor_maps.h"

#include "cuda/error.h"

namespace sana::cuda {
namespace {

constexpr int kRank = 4;

void* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
#if CUDART_VERSION >= 12050
  const cudaError_t status = cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t status = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
  check(status, name);
  if (found != cudaDriverEntryPointSuccess) throw Error("ERR_SANA_DEVICE", "the NVIDIA driver has no %s", name);
  return function;
}

CUtensorMapDataType type_of(DType dtype) {
  return dtype == DType::kBF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}

void check_made(CUresult result, const char* kind, const MappedTensor& t) {
  if (result == CUDA_SUCCESS) return;
  throw Error("ERR_SANA_DEVICE",
              "the NVIDIA driver cannot create a tensor map of %s of [%llu, %llu, %llu, %llu] (error %d)", kind,
              static_cast<unsigned long long>(t.sizes[3]), static_cast<unsigned long long>(t.sizes[2]),
              static_cast<unsigned long long>(t.sizes[1]), static_cast<unsigned long long>(t.sizes[0]),
              static_cast<int>(result));
}

}  // namespace

TensorMaps::TensorMaps()
    : encode_tiles_(reinterpret_cast<decltype(encode_tiles_)>(driver_function("cuTensorMapEncodeTiled"))),
      encode_pixels_(reinterpret_cast<decltype(encode_pixels_)>(driver_function("cuTensorMapEncodeIm2col"))) {}

CUtensorMap TensorMaps::tiles(const MappedTensor& t, int row_dimension, int rows) const {
  cuuint32_t box[kRank] = {kMapElements, 1, 1, 1};
  box[row_dimension] = static_cast<cuuint32_t>(rows);
  constexpr cuuint32_t kSteps[kRank] = {1, 1, 1, 1};
  CUtensorMap map;
  check_made(encode_tiles_(&map, type_of(t.dtype), kRank, const_cast<void*>(t.data), t.sizes, t.distances, box, kSteps,
                           CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                           CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
             "tiles", t);
  return map;
}

CUtensorMap TensorMaps::pixels(const MappedTensor& t, const MappedPixels& p, int pixels) const {
  // The corners of the range that the first tap covers: the first pixel relative to the first one of the image, and the
  // last pixel relative to the last one.
  const int width = static_cast<int>(t.sizes[1]), height = static_cast<int>(t.sizes[2]);
  const int first[] = {-p.before, -p.above};
  const int last[] = {(p.out_width - 1) * p.stride - p.before - (width - 1),
                      (p.out_height - 1) * p.stride - p.above - (height - 1)};
  const auto stride = static_cast<cuuint32_t>(p.stride);
  const cuuint32_t steps[kRank] = {1, stride, stride, 1};
  CUtensorMap map;
  check_made(
      encode_pixels_(&map, type_of(t.dtype), kRank, const_cast<void*>(t.data), t.sizes, t.distances, first, last,
                     kMapElements, static_cast<cuuint32_t>(pixels), steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                     CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "pixels", t);
  return map;
}

}  // namespace sana::cuda
