#include "core/loading.h"

#include <algorithm>

#include "core/error.h"
#include "core/tensor.h"

namespace sana {
namespace {

// Large enough to keep every thread busy packing, small enough to stay in the last-level cache.
constexpr int64_t kBlockBytes = 2 << 20;

void check_source(const RowSource& source) {
  if (source.rows >= kMostElements / source.row_elements) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `rows` * `rowElements` to be below 2^40, got %lld * %lld",
                static_cast<long long>(source.rows), static_cast<long long>(source.row_elements));
  }
  source.bytes->check_range(source.offset, uint64_t(source.rows * source.row_elements) * element_bytes(source.dtype));
}

// Rows first_row .. first_row + rows of row_elements each must lie inside the target.
void check_target(RowTarget& target, int64_t row_elements, int64_t first_row, int64_t rows) {
  SanaTensor& tensor = target.tensor;
  check_tensor(target.memory->device(), tensor, target.memory->bytes());
  const std::string text = to_text(tensor);
  const bool quantized = is_quantized(tensor.dtype) && tensor.layout != kSanaDense;
  if (!is_activation(tensor.dtype) && !quantized) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `target` to be f32, bf16 or f16, or a weight of i8 or f8, got %s",
                text.c_str());
  }
  const int64_t count = elements(tensor);
  if (tensor.layout == kSanaDense) {
    // A contiguous tensor is taken as rows of row_elements, whatever its shape.
    if (tensor.pitch != columns(tensor) || count % row_elements != 0) {
      throw Error("ERR_SANA_ARGUMENT", "Expected `target` to be contiguous rows of %lld elements, got %s",
                  static_cast<long long>(row_elements), text.c_str());
    }
    tensor.rank = 2;
    tensor.shape[0] = count / row_elements;
    tensor.shape[1] = tensor.pitch = row_elements;
  } else if (count / tensor.shape[0] != row_elements) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `rowElements` to be %lld for a target %s, got %lld",
                static_cast<long long>(count / tensor.shape[0]), text.c_str(), static_cast<long long>(row_elements));
  }
  if (first_row > tensor.shape[0] || rows > tensor.shape[0] - first_row) {
    throw Error("ERR_SANA_ARGUMENT", "Expected rows %lld to %lld to lie inside the %lld rows of %s",
                static_cast<long long>(first_row), static_cast<long long>(first_row + rows),
                static_cast<long long>(tensor.shape[0]), text.c_str());
  }
}

// Reads the rows of each block with read_rows(first, count, bytes) and packs them as rows first_row + first...
template <class ReadRows>
uint64_t pack_blocks(const RowSource& source, const RowTarget& target, int64_t first_row, int64_t rows,
                     const CancelFlag& cancel, ReadRows read_rows) {
  const Device& device = target.memory->device();
  const int64_t row_bytes = source.row_elements * int64_t(element_bytes(source.dtype));
  const int64_t block_rows = std::clamp<int64_t>(kBlockBytes / row_bytes, 1, rows);
  const auto block = std::make_unique_for_overwrite<char[]>(size_t(block_rows * row_bytes));
  uint64_t non_finite = 0;
  for (int64_t first = 0; first < rows; first += block_rows) {
    if (cancel.raised()) throw Error("ERR_SANA_CANCELLED", "the load was cancelled");
    const int64_t count = std::min(block_rows, rows - first);
    read_rows(first, count, block.get());
    SanaFailure failure;
    check(device.backend().pack(device.handle(), target.memory->handle(), &target.tensor, first_row + first, count,
                                block.get(), source.dtype, &non_finite, &failure),
          failure);
  }
  return non_finite;
}

}  // namespace

void check_pack(const RowSource& source, RowTarget& target, int64_t first_row) {
  check_source(source);
  check_target(target, source.row_elements, first_row, source.rows);
}

void check_gather(const RowSource& source, RowTarget& target, int64_t chosen_rows) {
  check_source(source);
  if (target.tensor.layout != kSanaDense) throw Error("ERR_SANA_ARGUMENT", "Expected `target` to be dense");
  check_target(target, source.row_elements, 0, chosen_rows);
}

uint64_t pack(const RowSource& source, const RowTarget& target, int64_t first_row, const CancelFlag& cancel) {
  const uint64_t row_bytes = uint64_t(source.row_elements) * element_bytes(source.dtype);
  return pack_blocks(source, target, first_row, source.rows, cancel, [&](int64_t first, int64_t count, char* block) {
    source.bytes->read(source.offset + uint64_t(first) * row_bytes, block, uint64_t(count) * row_bytes);
  });
}

void gather(const RowSource& source, const RowTarget& target, const std::vector<int64_t>& chosen,
            const CancelFlag& cancel) {
  const uint64_t row_bytes = uint64_t(source.row_elements) * element_bytes(source.dtype);
  pack_blocks(source, target, 0, int64_t(chosen.size()), cancel, [&](int64_t first, int64_t count, char* block) {
    for (int64_t i = 0; i < count; ++i) {
      source.bytes->read(source.offset + uint64_t(chosen[size_t(first + i)]) * row_bytes,
                         block + uint64_t(i) * row_bytes, row_bytes);
    }
  });
}

}  // namespace sana
