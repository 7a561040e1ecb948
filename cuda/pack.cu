// Weight packing. A block of rows is copied into pinned memory, counting NaN and infinity, then transferred to the
// workspace and converted from there by a kernel. Meanwhile the next block is read from its file.

#include <cstring>

#include "core/error.h"
#include "cuda/element.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/pack.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;

int64_t padded(int64_t inputs) {
  return divide_up(inputs, kRowElements) * kRowElements;
}

// ---- host: copying and counting -------------------------------------------------------------------------------------

template <class Word>
uint64_t copy_counting(void* to, const void* from, size_t bytes, Word exponent) {
  memcpy(to, from, bytes);
  const Word* words = static_cast<const Word*>(to);
  uint64_t bad = 0;
  for (size_t i = 0; i < bytes / sizeof(Word); ++i) bad += (words[i] & exponent) == exponent;
  return bad;
}

uint64_t copy_counting(void* to, const void* from, size_t bytes, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return copy_counting<uint32_t>(to, from, bytes, 0x7f800000);
    case DType::kBF16:
      return copy_counting<uint16_t>(to, from, bytes, 0x7f80);
    default:
      return copy_counting<uint16_t>(to, from, bytes, 0x7c00);
  }
}

// ---- kernel, of all dtypes but i8 and f8 ----------------------------------------------------------------------------

// The offset of element (row, input, tap) of a packed tensor, and the shape of its source in the checkpoint.
struct Packing {
  int64_t inputs, row_elements;  // row_elements: padded inputs, or in other layouts the pitch between outputs
  int source_taps, taps, phases;
  int64_t rows;  // of the whole tensor
  uint32_t layout;
};

// The rows (or columns) first..last of 3x3 taps that are summed up in tap t of the 2x2 kernel of phase a.
__device__ __forceinline__ int first_tap(int a, int t) {
  return a == 0 ? (t == 0 ? 0 : 1) : (t == 0 ? 0 : 2);
}
__device__ __forceinline__ int last_tap(int a, int t) {
  return a == 0 ? (t == 0 ? 0 : 2) : (t == 0 ? 1 : 2);
}

template <class Source, class Target>
__global__ void __launch_bounds__(kThreads) pack_kernel(const Source* source,  // [rows, inputs, source_taps]
                                                        Target* target, Packing p, int64_t first_row, int64_t rows) {
  const int64_t count = p.phases * rows * p.taps * p.inputs;
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride) {
    const int64_t input = i % p.inputs;
    const int tap = static_cast<int>(i / p.inputs % p.taps);
    const int64_t row = i / p.inputs / p.taps % rows;
    const int phase = static_cast<int>(i / p.inputs / p.taps / rows);
    const Source* x = source + (row * p.inputs + input) * p.source_taps;
    float value;
    if (p.phases == 1) {
      value = to_float(x[tap]);
    } else {
      value = 0.0f;
      for (int r = first_tap(phase / 2, tap / 2); r <= last_tap(phase / 2, tap / 2); ++r) {
        for (int c = first_tap(phase % 2, tap % 2); c <= last_tap(phase % 2, tap % 2); ++c) {
          value += to_float(x[r * 3 + c]);
        }
      }
    }
    int64_t to = first_row + row;
    if (p.layout == kSanaDepthwise) {
      to += tap * p.rows;
    } else {
      if (p.layout == kSanaGatedLinear) {
        const int64_t half = p.rows / 2, in_half = to % half;
        to = (in_half / kGateColumns * 2 + to / half) * kGateColumns + in_half % kGateColumns;
      }
      to = ((phase * p.rows + to) * p.taps + tap) * p.row_elements + input;
    }
    target[to] = from_float<Target>(value);
  }
}

Packing packing(const View& target) {
  switch (target.layout) {
    case kSanaDense:  // rows of the last dimension, a pitch apart
      return {target.columns(), target.pitch, 1, 1, 1, target.rows(), kSanaDense};
    case kSanaLinear:
    case kSanaGatedLinear:
      return {target.shape[1], padded(target.shape[1]), 1, 1, 1, target.shape[0], target.layout};
    case kSanaDepthwise: {
      const int taps = static_cast<int>(target.shape[1] * target.shape[2]);
      return {1, 1, taps, taps, 1, target.shape[0], target.layout};
    }
    case kSanaUpsampleConv2d:
      return {target.shape[3], padded(target.shape[3]), 9, 4, 4, target.shape[0], target.layout};
    default: {
      const int taps = static_cast<int>(target.shape[1] * target.shape[2]);
      return {target.shape[3], padded(target.shape[3]), taps, taps, 1, target.shape[0], target.layout};
    }
  }
}

// Queues the conversion of `rows` whole rows in device memory into rows first_row.. of `target`.
void convert_rows(const void* source, DType source_dtype, const View& target, const Packing& p, int64_t first_row,
                  int64_t rows, const Stream& stream) {
  if (is_quantized(target.dtype) && target.layout == kSanaLinear) {
    QuantizedRows weight = quantized_weight(target);
    weight.elements += first_row * quantized_pitch(p.inputs);
    weight.scales += first_row;
    return quantize_rows(source, source_dtype, rows, p.inputs, p.inputs, weight, stream);
  }
  const int64_t work = p.phases * rows * p.taps * p.inputs;
  const unsigned blocks = static_cast<unsigned>(min(divide_up(work, kThreads), int64_t(stream.multiprocessors) * 16));
  with_type(source_dtype, [&](auto source_tag) {
    with_type(target.dtype, [&](auto target_tag) {
      using Source = typename decltype(source_tag)::Type;
      using Target = typename decltype(target_tag)::Type;
      launch(stream.handle, pack_kernel<Source, Target>, blocks, kThreads, 0, static_cast<const Source*>(source),
             target.as<Target>(), p, first_row, rows);
    });
  });
}

}  // namespace

uint64_t tensor_bytes(DType dtype, uint32_t layout, const int64_t* shape) {
  const int64_t element = element_bytes(dtype);
  const auto bytes = [&]() -> int64_t {
    switch (layout) {
      case kSanaLinear:
        // A quantised row and its scale.
        if (is_quantized(dtype)) return quantized_rows(shape[0]) * (quantized_pitch(shape[1]) + int64_t(sizeof(float)));
        return shape[0] * padded(shape[1]) * element;
      case kSanaGatedLinear:
        return divide_up(shape[0] / 2, kGateColumns) * 2 * kGateColumns * padded(shape[1]) * element;
      case kSanaUpsampleConv2d:
        return 4 * shape[0] * 4 * padded(shape[3]) * element;
      case kSanaConv2d:
        return shape[0] * shape[1] * shape[2] * padded(shape[3]) * element;
      default:  // depthwise
        return shape[0] * shape[1] * shape[2] * element;
    }
  };
  return static_cast<uint64_t>(bytes());
}

uint64_t pack_rows(SanaDevice& device, const View& target, int64_t first_row, int64_t rows, const void* source,
                   DType source_dtype) {
  View flat = target;
  if (target.layout == kSanaDense && target.pitch == target.columns()) {  // may be cut anywhere, even inside rows
    const int64_t row = target.rank == 1 ? 1 : target.rows() / target.shape[0] * target.columns();
    flat.rank = 2;
    flat.shape[0] = target.rows() * target.columns();
    flat.shape[1] = flat.pitch = 1;
    first_row *= row;
    rows *= row;
  } else if (target.layout == kSanaDense) {  // whole lines, a pitch apart
    const int64_t lines = target.rows() / target.shape[0];
    first_row *= lines;
    rows *= lines;
  }
  const Packing p = packing(flat);
  const int64_t row_bytes = p.inputs * p.source_taps * element_bytes(source_dtype);
  const int64_t block_rows = int64_t(Staging::kBlockBytes) / row_bytes;
  SANA_CHECK(block_rows > 0, "pack: a row of %lld bytes is too large", static_cast<long long>(row_bytes));
  uint64_t non_finite = 0;
  for (int64_t row = 0; row < rows; row += block_rows) {
    const int64_t count = min(block_rows, rows - row);
    const size_t bytes = static_cast<size_t>(count * row_bytes);
    const Staging::Block block = device.staging.take();
    char* staged = device.stream.workspace + block.index * Staging::kBlockBytes;
    non_finite += copy_counting(block.host, static_cast<const char*>(source) + row * row_bytes, bytes, source_dtype);
    SANA_CUDA(cudaMemcpyAsync(staged, block.host, bytes, cudaMemcpyHostToDevice, device.stream.handle));
    device.staging.give_back(block, device.stream.handle);
    convert_rows(staged, source_dtype, target, p, first_row + row, count, device.stream);
  }
  return non_finite;
}

}  // namespace sana::cuda
