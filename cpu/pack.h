// How weights lie in memory on the CPU, for every instruction set alike, and the packing of checkpoint rows into it.

#pragma once

#include <stdint.h>

#include "cpu/kernel.h"

namespace sana::cpu {

// Bytes of a tensor of this dtype and layout; `shape` is the logical shape that backend.h gives for the layout.
uint64_t tensor_bytes(DType dtype, uint32_t layout, uint32_t rank, const int64_t* shape);

// Converts `rows` rows of a row-major checkpoint tensor (f32, bf16 or f16) into rows first_row.. of `target`, in the
// target's dtype (round to nearest even) and layout. Returns how many of the elements were NaN or infinite.
uint64_t pack_rows(const View& target, int64_t first_row, int64_t rows, const void* source, DType source_dtype,
                   Workers&);

}  // namespace sana::cpu
