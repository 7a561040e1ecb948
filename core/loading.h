// Loads weights from a file or from host memory to a device: rows of a checkpoint tensor are read, converted and packed
// block by block. There is never a second copy of a model.

#pragma once

#include <memory>
#include <vector>

#include "core/byte_source.h"
#include "core/cancel.h"
#include "core/device.h"

namespace sana {

// Rows of a row-major checkpoint tensor, and the tensor in device memory that receives them.
struct RowSource {
  std::shared_ptr<const ByteSource> bytes;
  uint64_t offset;  // bytes
  uint32_t dtype;   // f32, bf16 or f16
  int64_t rows;
  int64_t row_elements;
};
struct RowTarget {
  std::shared_ptr<Memory> memory;
  SanaTensor tensor;
};

// Both throw ERR_SANA_ARGUMENT or ERR_SANA_FILE unless every row lies inside the source and fits the target. They
// change the shape of `target` to the one that the backend's pack() must be called with.
void check_pack(const RowSource&, RowTarget&, int64_t first_row);
void check_gather(const RowSource&, RowTarget&, int64_t chosen_rows);

// Called on the device's executor. Rows 0.. of the source become rows first_row.. of the target; returns how many
// elements were NaN or infinite.
uint64_t pack(const RowSource&, const RowTarget&, int64_t first_row, const CancelFlag&);
// Row chosen[i] of the source becomes row i of the target.
void gather(const RowSource&, const RowTarget&, const std::vector<int64_t>& chosen, const CancelFlag&);

}  // namespace sana
