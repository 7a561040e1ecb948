// The host side of matrix.h: how a matrix product is cut, and the access path that its operands allow.

#include "core/error.h"
#include "cuda/kernels/matrix.h"
#include "cuda/kernels/tiles.h"

namespace sana::cuda {
namespace {

constexpr int kCopyBytes = 16;  // alignment of copies and vectors

bool aligned(const void* data, int64_t pitch, int64_t element_bytes) {
  return reinterpret_cast<uintptr_t>(data) % kCopyBytes == 0 && pitch * element_bytes % kCopyBytes == 0;
}

bool takes_vectors(const Epilogue& e) {
  const int64_t bytes = element_bytes(e.dtype);
  return aligned(e.out, e.out_pitch, bytes) && aligned(e.bias, 0, 4) && (!e.gate || aligned(e.gate, e.columns, 4)) &&
         (!e.residual || aligned(e.residual, e.residual_pitch, bytes));
}

Source source_of(const Product& p, DType x) {
  const bool copies = p.channels % kRowElements == 0 && aligned(p.image, p.pitch, element_bytes(x));
  return !copies ? Source::kGeneral : p.is_matrix() ? Source::kMatrix : Source::kImage;
}

// With fewer rows, warpgroups would be more than half idle. Such products are bound by reading the weights, which
// smaller tiles spread over the chip.
constexpr int64_t kLeastHopperRows = 65;
constexpr int kMostMappedStride = 8;  // limit of a tensor map of pixels

Unit unit_of(const Product& p, DType x, Source source, const Stream& stream) {
  if (x == DType::kF32) return Unit::kExact;
  if (is_quantized(x)) return Unit::kByte;
  const bool can = stream.tensor_maps && source != Source::kGeneral && p.channels > 0 &&
                   p.stride <= kMostMappedStride && aligned(p.weights, 0, 2);
  const bool forced = stream.variant[0] != 0;
  return can && (forced || p.rows() >= kLeastHopperRows) ? Unit::kHopper : Unit::kTensor;
}

// K with padding: whole steps for each tap if steps do not cross taps.
int64_t inputs_of(const Product& p, Unit unit) {
  if (unit != Unit::kHopper) return p.inputs();
  return int64_t(p.kernel_height) * p.kernel_width * divide_up(p.channels, kHopperStep) * kHopperStep;
}

template <class T>
void launch_on(Unit unit, const Product& p, const Cut& cut, Source source, int tile, const Stream& stream) {
  if constexpr (sizeof(T) == 2) {
    if (unit == Unit::kHopper) return launch_hopper_product<T>(p, cut, source, tile, stream);
  }
  launch_product<T>(p, cut, source, tile, stream);
}

}  // namespace

void run_product(const Product& given, DType x, const Stream& stream) {
  Product p = given;
  if (p.rows() == 0 || p.epilogue.columns == 0) return;
  p.epilogue.vectors = takes_vectors(p.epilogue);
  const Source source = source_of(p, x);
  const Unit unit = unit_of(p, x, source, stream);
  const int64_t inputs = inputs_of(p, unit);
  const Choice choice =
      choose_tile({p.rows(), p.sums, p.phases, static_cast<int>(inputs), unit, source == Source::kGeneral}, stream);
  const Tile& tile = tile_of(unit, choice.tile);

  const int64_t row_tiles = divide_up(p.rows(), tile.rows);
  const int64_t column_tiles = p.phases * divide_up(p.sums, tile.columns);
  SANA_CHECK(row_tiles <= INT32_MAX / column_tiles, "a matrix product of %lld rows and %lld columns is too large",
             static_cast<long long>(p.rows()), static_cast<long long>(p.sums));
  const int64_t steps = divide_up(inputs, tile.step);
  Cut cut = {};
  cut.row_tiles = static_cast<unsigned>(row_tiles);
  cut.column_tiles = static_cast<unsigned>(column_tiles);
  cut.steps = static_cast<int>(divide_up(steps, choice.splits));
  cut.splits = steps == 0 ? 1 : static_cast<int>(divide_up(steps, cut.steps));  // so that none is empty
  cut.partial = cut.splits > 1 ? stream.workspace : nullptr;
  cut.partial_columns = padded_sums(p.sums);
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::Type;
    launch_on<T>(unit, p, cut, source, choice.tile, stream);
    if (cut.partial) launch_combine<T>(p, cut, stream);
  };
  if (is_quantized(x)) return with_quantized_type(x, run);
  with_type(x, run);
}

}  // namespace sana::cuda
