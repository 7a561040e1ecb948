// Barriers in shared memory (mbarrier): phases that complete when all arrivals and all expected bytes have come.

#pragma once

#include <cstdint>

#include "test/simt/scheduler.h"

namespace simt {

struct Barrier {
  int index = 0;  // of this block's
  unsigned arrivals = 0, pending = 0;
  int64_t bytes = 0;            // expected and not yet there; below zero when more came than were expected
  unsigned phase = 0;           // phases that are complete
  unsigned initialiser = 0;     // the thread
  bool seen_by_copies = false;  // barrier_init_done was called
};

void forget_barriers();  // when a block begins

// Those of cuda/machine/hopper.h. What the manual leaves undefined ends the launch.
SIMT_RUNTIME void barrier_init(uint64_t* barrier, uint32_t arrivals);
SIMT_RUNTIME void barrier_init_done();
SIMT_RUNTIME void barrier_arrive(uint64_t* barrier, uint32_t bytes);
SIMT_RUNTIME void barrier_wait(uint64_t* barrier, uint32_t parity);

// For copies: the barrier at this address, and bytes that have landed.
Barrier& barrier_at(const uint64_t* barrier);
void bytes_landed(Barrier&, int64_t bytes);

}  // namespace simt
