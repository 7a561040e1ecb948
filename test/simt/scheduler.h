// The CUDA execution model on one host thread: every CUDA thread is a fiber with its own stack, blocks run one after
// another, and a fiber runs until it waits for others, at a barrier or in a warp's collective.

#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

// The emulation's own functions are not part of the kernels: the checked build must not instrument them.
#define SIMT_RUNTIME __attribute__((no_sanitize("thread"), noinline))

namespace simt {

// What the lanes of a warp give to and take from a collective.
using Slots = unsigned char[32][64];

// Turns what `lanes` gave into what they take.
using Compute = void (*)(unsigned lanes, Slots&);

// Lanes that meet in collectives. Slots are double-buffered, so that the next collective may begin while the slower
// lanes still read this one.
struct Group {
  unsigned mask = 0, arrived = 0, generation = 0;
  Compute compute = nullptr;
  unsigned lanes[2] = {};  // that took part
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
  const unsigned* awaited = nullptr;  // waits until this counter is no longer...
  unsigned awaited_value = 0;         // ...this value
  AsyncCopy copies[kMostCopies];
  int copy_count = 0, copy_group = 0;
};

#if defined(__SANITIZE_ADDRESS__)
inline constexpr size_t kStackBytes = 256 * 1024;
#else
inline constexpr size_t kStackBytes = 64 * 1024;
#endif
inline constexpr size_t kMostSharedBytes = 256 * 1024;  // more than any device gives a block

// A kernel's launch.
struct Grid {
  dim3 grid, block;
  size_t shared_bytes;
  const void* kernel;  // its code, to name it by
};

enum class Order { kForward, kReverse, kRandom };

// Where the kernel is. One launch at a time. Epochs count the barriers of all blocks that ever ran, so that any two
// moments with a barrier between them, or of different blocks, differ.
struct Context {
  Fiber* fiber = nullptr;
  uint3 thread_index{}, block_index{};
  unsigned lane = 0;
  dim3 block_size{}, grid_size{};
  unsigned block_linear = 0;
  unsigned epoch = 0, block_epoch = 0, launch_epoch = 0;  // now; the first of this block; the first of this launch
  unsigned char* dynamic_shared = nullptr;                // kMostSharedBytes
  size_t dynamic_shared_bytes = 0;                        // what the launch asked for
  const void* call = nullptr;                             // the kernel's arguments, in host memory
  size_t call_bytes = 0;
  const std::function<void()>* body = nullptr;
  const void* kernel = nullptr;
  Order order = Order::kForward;
};
extern Context context;

// Runs `body` once for every thread of the grid, blocks and threads in the order given. Throws std::runtime_error
// telling what was wrong: threads wait for each other for ever, or what the checked build found.
void run_grid(const Grid&, Order, const std::function<void()>& body);

// Ends the launch from within a thread of it: run_grid throws `why`.
[[noreturn]] SIMT_RUNTIME void abandon_launch(std::string why);

SIMT_RUNTIME void block_barrier(int line);

// Lets others run while the counter has this value.
SIMT_RUNTIME void wait_while(const unsigned& counter, unsigned value, Fiber::State);
SIMT_RUNTIME void yield();

// Every lane of `mask` that has not exited gives `in`; the last one computes for all of them (null: nothing to
// compute). Returns the group and which of its slots.
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

// Called when a lane takes the value of one that gave none.
SIMT_RUNTIME void read_missing_lane(unsigned lane);

// The value that lane `source` gave; all bits set when it gave none.
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
