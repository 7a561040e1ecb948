// The tensor maps of the emulated driver, and the copies that use them.
//
// A copy is in flight from its start until its bytes are counted. The time of its arrival depends on the order of
// threads: forward, when no thread can continue; reverse, immediately; random, at any time. Each finds other bugs: the
// first a missing wait, the second memory that is overwritten too early.

#pragma once

#include <cuda.h>

#include <cstdint>
#include <random>

#include "test/simt/scheduler.h"

namespace simt {

struct Place {
  int at[4];         // fastest dimension first
  int right, below;  // for maps of pixels
};

// The calling thread starts a copy.
SIMT_RUNTIME void copy_tensor(void* shared, const CUtensorMap&, bool pixels, uint64_t* barrier, const Place&);

void forget_copies();             // called when a block begins
bool land_a_copy(std::mt19937*);  // the first copy in flight, or a random one; false if there is none
bool copies_under_way();

// Applies the 128-byte swizzle to the offset of a 16-byte chunk of shared memory.
constexpr size_t swizzled(size_t offset) {
  return offset ^ (offset >> 7 & 7) << 4;
}

}  // namespace simt
