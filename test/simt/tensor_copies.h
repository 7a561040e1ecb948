// Tensor maps as the emulated driver makes them, and the copies that read them.
//
// A copy is under way from its start until its bytes are counted. When it lands is part of the order of threads:
// forward, once no thread can go on; reverse, at once; random, at any time. Each shows other bugs: a wait too few the
// first, memory that is overwritten too early the second.

#pragma once

#include <cuda.h>

#include <cstdint>
#include <random>

#include "test/simt/scheduler.h"

namespace simt {

struct Place {
  int at[4];         // fastest dimension first
  int right, below;  // of maps of pixels
};

// Starts a copy by the calling thread.
SIMT_RUNTIME void copy_tensor(void* shared, const CUtensorMap&, bool pixels, uint64_t* barrier, const Place&);

void forget_copies();             // when a block begins
bool land_a_copy(std::mt19937*);  // the first that is under way, or any; false: there is none
bool copies_under_way();

// The same 16-byte chunk of shared memory, by its offset, as seen through the 128-byte swizzle.
constexpr size_t swizzled(size_t offset) {
  return offset ^ (offset >> 7 & 7) << 4;
}

}  // namespace simt
