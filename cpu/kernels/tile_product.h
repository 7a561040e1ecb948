// The small matrix product of the attention kernels and DC-AE's grouped projection, on f32 tiles in a worker's memory.

#pragma once

#include <stdint.h>

namespace sana::cpu::SANA_ISA {

// c = a b, or c += a b. An element is a sum over j = 0 .. J-1, in that order, whatever the other sizes are.
struct TileProduct {
  int64_t rows;     // I
  int64_t depth;    // J
  int64_t columns;  // R, a multiple of kLanes
  const float* a;   // [I, J], element (i, j) at i * a_row + j * a_column
  int64_t a_row;
  int64_t a_column;
  const float* b;  // [J, R], rows b_row apart
  int64_t b_row;
  float* c;  // [I, R], rows c_row apart
  int64_t c_row;
  bool add;
};

void tile_product(const TileProduct&);

}  // namespace sana::cpu::SANA_ISA
