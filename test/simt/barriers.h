// Barriers in shared memory (mbarrier). A phase is complete when all arrivals and all expected bytes have arrived.

#pragma once

#include <cstdint>

#include "test/simt/scheduler.h"

namespace simt {

struct Barrier {
  int index = 0;  // index among the block's barriers
  unsigned arrivals = 0, pending = 0;
  int64_t bytes = 0;            // expected and not yet arrived; negative if more arrived than were expected
  unsigned phase = 0;           // number of complete phases
  unsigned initialiser = 0;     // the thread that initialised it
  bool seen_by_copies = false;  // barrier_init_done was called
};

void forget_barriers();  // called when a block begins

// The functions of cuda/machine/hopper.h. Behaviour that the manual leaves undefined ends the launch.
SIMT_RUNTIME void barrier_init(uint64_t* barrier, uint32_t arrivals);
SIMT_RUNTIME void barrier_init_done();
SIMT_RUNTIME void barrier_arrive(uint64_t* barrier, uint32_t bytes);
SIMT_RUNTIME void barrier_wait(uint64_t* barrier, uint32_t parity);

// For copies: the barrier at this address, and the arrival of bytes.
Barrier& barrier_at(const uint64_t* barrier);
void bytes_landed(Barrier&, int64_t bytes);

}  // namespace simt
