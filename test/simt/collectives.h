// The results of a warp's collectives, computed once all lanes have passed their operands.

#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "test/simt/e4m3.h"
#include "test/simt/scheduler.h"

namespace simt {

void sync_warp(unsigned lanes, Slots&);
void ballot(unsigned lanes, Slots&);         // int predicates in, the votes out
void load_matrices(unsigned lanes, Slots&);  // addresses of rows in, uint32_t[4] out
void load_matrices_transposed(unsigned lanes, Slots&);

// The value of a 16-bit element.
float to_float(uint16_t bits, __nv_bfloat16);
float to_float(uint16_t bits, __half);

template <class Sum>
struct MmaOperands {
  Sum c[4];
  uint32_t a[4], b[2];
};
// MmaOperands<float> in, float[4] out if T is __nv_bfloat16, __half or f8; with int32_t instead of float if T is
// int8_t. Products are added to c one by one in the order of K, and each sum is rounded to f32.
template <class T>
void mma(unsigned lanes, Slots&);

}  // namespace simt
