// The CUDA execution model on one host thread: every CUDA thread is a fiber with its own stack, blocks run one after
// another, and a fiber runs until it waits for others at a barrier or in a collective of its warp.

#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

// Marks functions of the emulation, which the checked build must not instrument because they are not part of kernels.
#define SIMT_RUNTIME __attribute__((no_sanitize("thread"), noinline))

namespace simt {

// The operands and results of a warp's lanes in a collective.
using Slots = unsigned char[32][64];

// Computes the results of `lanes` from their operands.
using Compute = void (*)(unsigned lanes, Slots&);

// A group of lanes that take part in the same collectives. Slots are double-buffered, so that the next collective may
// begin while slower lanes still read the results of this one.
struct Group {
  unsigned mask = 0, arrived = 0, generation = 0;
  Compute compute = nullptr;
  unsigned lanes[2] = {};  // the lanes that took part
  alignas(16) Slots slots[2];
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
  unsigned linear = 0, lane = 0;
  uint3 thread_index{};
  Warp* warp = nullptr;
  bool exited = true;
  enum State { kRunning, kAtBarrier, kInCollective, kAtPhase, kAtProduct };
  State state = kRunning;
  const unsigned* awaited = nullptr;  // the thread waits until this counter is no longer ...
  unsigned awaited_value = 0;         // ... this value
  AsyncCopy copies[kMostCopies];
  int copy_count = 0, copy_group = 0;
};

#if defined(__SANITIZE_ADDRESS__)
inline constexpr size_t kStackBytes = 256 * 1024;
#else
inline constexpr size_t kStackBytes = 64 * 1024;
#endif
inline constexpr size_t kMostSharedBytes = 256 * 1024;  // above the limit of any device

// A kernel's launch.
struct Grid {
  dim3 grid, block;
  size_t shared_bytes;
  const void* kernel;  // its address, for finding its name
};

enum class Order { kForward, kReverse, kRandom };

// The state of the current launch; there is one launch at a time. Epochs count the barriers of all blocks so far, so
// that two points in time have different epochs if a barrier is between them or they belong to different blocks.
struct Context {
  Fiber* fiber = nullptr;
  uint3 thread_index{}, block_index{};
  unsigned lane = 0;
  dim3 block_size{}, grid_size{};
  unsigned block_linear = 0;
  unsigned epoch = 0, block_epoch = 0, launch_epoch = 0;  // now; the first of this block; the first of this launch
  unsigned char* dynamic_shared = nullptr;                // kMostSharedBytes
  size_t dynamic_shared_bytes = 0;                        // as requested by the launch
  const void* call = nullptr;                             // the kernel's arguments, in host memory
  size_t call_bytes = 0;
  const std::function<void()>* body = nullptr;
  const void* kernel = nullptr;
  Order order = Order::kForward;
};
extern Context context;

// Runs `body` once for every thread of the grid, with blocks and threads in the given order. Throws std::runtime_error
// with a description of the error: a deadlock, or the findings of the checked build.
void run_grid(const Grid&, Order, const std::function<void()>& body);

// Ends the launch from one of its threads: run_grid throws `why`.
[[noreturn]] SIMT_RUNTIME void abandon_launch(std::string why);

SIMT_RUNTIME void block_barrier(int line);

// Lets other threads run while the counter has this value.
SIMT_RUNTIME void wait_while(const unsigned& counter, unsigned value, Fiber::State);
SIMT_RUNTIME void yield();

// Every lane of `mask` that has not exited passes `in`; the last lane computes the results for all of them (null:
// nothing to compute). Returns the group and the index of its slots.
struct Meeting {
  Group* group;
  unsigned which;
};
SIMT_RUNTIME Meeting meet(unsigned mask, const void* in, size_t in_bytes, Compute compute);

template <class In, class Out>
SIMT_RUNTIME void collective(unsigned mask, const In& in, Out& out, Compute compute) {
  static_assert(sizeof(In) <= 64 && sizeof(Out) <= 64);
  const Meeting meeting = meet(mask, &in, sizeof in, compute);
  __builtin_memcpy(static_cast<void*>(&out), meeting.group->slots[meeting.which][context.fiber->lane], sizeof out);
}

// Called if a lane reads the value of a lane that did not take part.
SIMT_RUNTIME void read_missing_lane(unsigned lane);

// The value that lane `source` passed; all bits are set if it did not take part.
template <class T>
SIMT_RUNTIME T exchange(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 64);
  const Meeting meeting = meet(mask, &value, sizeof value, nullptr);
  const unsigned lane = static_cast<unsigned>(source) & 31;
  T result;
  __builtin_memcpy(static_cast<void*>(&result), meeting.group->slots[meeting.which][lane], sizeof result);
  if (!(meeting.group->lanes[meeting.which] >> lane & 1)) {
    read_missing_lane(lane);
    __builtin_memset(static_cast<void*>(&result), 0xff, sizeof result);
  }
  return result;
}

}  // namespace simt
