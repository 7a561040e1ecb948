// The CUDA execution model on one host thread: every CUDA thread is a fiber with its own stack, blocks run one after
// another, and a fiber runs until it waits for others, at a barrier or in a warp's collective.

#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// The emulation's own functions are not part of the kernels: the checked build must not instrument them.
#define SIMT_RUNTIME __attribute__((no_sanitize("thread"), noinline))

namespace simt {

// Lanes that exchange values. Slots are double-buffered, so that the next exchange may begin while the slower lanes
// still read this one.
struct Group {
  unsigned mask = 0, arrived = 0, generation = 0;
  alignas(16) unsigned char slots[2][32][64];
};

struct Warp {
  unsigned live = 0;   // lanes that have not exited
  unsigned epoch = 0;  // counts __syncwarp
  Group full;          // all lanes
  Group* partial = nullptr;
  int partial_count = 0;
};

struct AsyncCopy {
  void* to;
  const void* from;  // null: zeros
  int group;
};

struct Fiber {
  static constexpr int kMostCopies = 512;

  void* stack_pointer = nullptr;
  void* stack = nullptr;
  void* sanitizer_stack = nullptr;
  uint3 thread_index{};
  unsigned linear = 0, lane = 0;
  Warp* warp = nullptr;
  bool exited = false;
  enum { kRunning, kAtBarrier, kInCollective } state = kRunning;
  const unsigned* awaited = nullptr;  // waits until this counter is no longer...
  unsigned awaited_value = 0;         // ...this value
  AsyncCopy copies[kMostCopies];
  int copy_count = 0, copy_group = 0;
};

// Where the kernel is. One launch at a time.
struct Context {
  Fiber* fiber = nullptr;
  uint3 block_index{};
  dim3 block_size{}, grid_size{};
  unsigned block_linear = 0;
  unsigned block_epoch = 0;  // counts __syncthreads
  unsigned char* dynamic_shared = nullptr;
  size_t dynamic_shared_bytes = 0;
};
extern Context context;

enum class Order { kForward, kReverse, kRandom };

// Runs `body` once for every thread of the grid, blocks and threads in the order given. Throws std::runtime_error when
// the threads wait for each other for ever.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, Order order, const std::function<void()>& body);

SIMT_RUNTIME void block_barrier();
SIMT_RUNTIME bool arrive(unsigned mask, Group** group, unsigned* generation);  // true: the last to arrive
SIMT_RUNTIME void release(Group*);
SIMT_RUNTIME void await(Group*, unsigned generation);

enum class Access { kRead, kWrite, kAtomic, kCopyStarted, kCopyLanded };
// An access that the compiler does not see: the checked build looks at it.
SIMT_RUNTIME void note(const void* address, int bytes, Access);

// Every lane of `mask` deposits `in`; the last one computes for all of them; every lane takes its `out`.
template <class In, class Out, class Compute>
SIMT_RUNTIME void collective(unsigned mask, const In& in, Out& out, Compute compute) {
  static_assert(sizeof(In) <= 64 && sizeof(Out) <= 64);
  Fiber* const self = context.fiber;
  Group* group;
  unsigned generation;
  const bool last = arrive(mask, &group, &generation);
  auto& slots = group->slots[generation & 1];
  std::memcpy(slots[self->lane], &in, sizeof in);
  if (last) {
    compute(slots);
    release(group);
  } else {
    await(group, generation);
  }
  std::memcpy(static_cast<void*>(&out), slots[self->lane], sizeof out);
}

// The value that lane `source` gave.
template <class T>
SIMT_RUNTIME T exchange(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 64);
  Fiber* const self = context.fiber;
  Group* group;
  unsigned generation;
  const bool last = arrive(mask, &group, &generation);
  auto& slots = group->slots[generation & 1];
  std::memcpy(slots[self->lane], &value, sizeof value);
  if (last) {
    release(group);
  } else {
    await(group, generation);
  }
  T result;
  std::memcpy(static_cast<void*>(&result), slots[source & 31], sizeof result);
  return result;
}

}  // namespace simt
