#include "test/simt/barriers.h"

#include <cstring>
#include <deque>
#include <string>

#include "test/simt/async_checks.h"
#include "test/simt/checker.h"

namespace simt {
namespace {

std::deque<Barrier> barriers;                // a deque keeps their addresses stable
constexpr uint64_t kMark = 0xba441e4u;       // in the upper half of a barrier's eight bytes, its index in the lower
constexpr uint32_t kMostArrivals = 1 << 20;  // the limit of an mbarrier

void complete_when_due(Barrier& barrier) {
  if (barrier.pending > 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.arrivals;
  async_checks::phase_completed(barrier);
}

}  // namespace

void forget_barriers() {
  barriers.clear();
}

Barrier& barrier_at(const uint64_t* barrier) {
  if (reinterpret_cast<uintptr_t>(barrier) % 8) abandon_launch("a barrier at an address that is not a multiple of 8");
  uint64_t value;
  std::memcpy(&value, barrier, sizeof value);
  if (value >> 32 != kMark || (value & 0xffffffffu) >= barriers.size()) {
    abandon_launch("a barrier that was not initialised: thread " + std::to_string(context.fiber->linear) +
                   " of block " + std::to_string(context.block_linear));
  }
  return barriers[value & 0xffffffffu];
}

void barrier_init(uint64_t* barrier, uint32_t arrivals) {
  if (arrivals == 0 || arrivals >= kMostArrivals) abandon_launch("a barrier for no arrivals, or for too many");
  checker::note(barrier, 8, checker::Access::kWrite);
  Barrier& made = barriers.emplace_back();
  made.index = static_cast<int>(barriers.size() - 1);
  made.arrivals = made.pending = arrivals;
  made.initialiser = context.fiber->linear;
  const uint64_t value = kMark << 32 | static_cast<uint64_t>(made.index);
  std::memcpy(barrier, &value, sizeof value);
}

void barrier_init_done() {
  for (Barrier& barrier : barriers) barrier.seen_by_copies |= barrier.initialiser == context.fiber->linear;
}

void barrier_arrive(uint64_t* address, uint32_t bytes) {
  checker::note(address, 8, checker::Access::kAtomic);
  Barrier& barrier = barrier_at(address);
  if (barrier.pending == 0) {
    abandon_launch("more arrivals at a barrier than it was initialised for: thread " +
                   std::to_string(context.fiber->linear) + " of block " + std::to_string(context.block_linear));
  }
  async_checks::arrived(barrier);
  barrier.bytes += bytes;
  --barrier.pending;
  complete_when_due(barrier);
  // Let waiting threads run before this thread continues: with immediate copies, a thread that is told too early that
  // memory is free then overwrites it, and the bug is seen.
  if (context.order == Order::kReverse && bytes == 0) yield();
}

void barrier_wait(uint64_t* address, uint32_t parity) {
  checker::note(address, 8, checker::Access::kAtomic);
  Barrier& barrier = barrier_at(address);
  while (barrier.phase % 2 == parity) wait_while(barrier.phase, barrier.phase, Fiber::kAtPhase);
  async_checks::waited(barrier);
}

void bytes_landed(Barrier& barrier, int64_t bytes) {
  barrier.bytes -= bytes;
  complete_when_due(barrier);
}

}  // namespace simt
