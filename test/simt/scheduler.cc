// Fibers and their scheduling. Never instrumented.

#include "test/simt/scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {

Context context;

namespace {

// Saves the callee-saved registers on the stack and goes on with another one (x86-64, System V).
extern "C" void simt_switch(void** save, void* to);
asm(R"(
.text
.globl simt_switch
.hidden simt_switch
.type simt_switch,@function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch,.-simt_switch
)");

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif
constexpr size_t kMostSharedBytes = 256 * 1024;  // more than any device gives a block

struct Scheduler {
  void* stack_pointer = nullptr;
  void* sanitizer_stack = nullptr;
  const void* stack_bottom = nullptr;
  size_t stack_size = 0;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<std::unique_ptr<Warp>> warps;
  const std::function<void()>* body = nullptr;
  unsigned live = 0, at_barrier = 0, barrier_generation = 0;
  unsigned char* shared = nullptr;
};
Scheduler scheduler;

void to_scheduler(Fiber* fiber, [[maybe_unused]] bool exiting = false) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(exiting ? nullptr : &fiber->sanitizer_stack, scheduler.stack_bottom,
                                 scheduler.stack_size);
#endif
  simt_switch(&fiber->stack_pointer, scheduler.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber->sanitizer_stack, &scheduler.stack_bottom, &scheduler.stack_size);
#endif
}

void to_fiber(Fiber* fiber) {
  context.fiber = fiber;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler.sanitizer_stack, fiber->stack, kStackBytes);
#endif
  simt_switch(&scheduler.stack_pointer, fiber->stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler.sanitizer_stack, nullptr, nullptr);
#endif
}

void open_barrier() {
  scheduler.at_barrier = 0;
  scheduler.barrier_generation++;
  context.block_epoch++;
}

// A thread that exits no longer counts at barriers or in its warp.
void exit_thread(Fiber* fiber) {
  fiber->exited = true;
  scheduler.live--;
  fiber->warp->live &= ~(1u << fiber->lane);
  if (scheduler.live && scheduler.at_barrier == scheduler.live) open_barrier();
}

void fiber_entry() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler.stack_bottom, &scheduler.stack_size);
#endif
  (*scheduler.body)();
  exit_thread(context.fiber);
  to_scheduler(context.fiber, true);
  std::abort();
}

void prepare(Fiber* fiber, unsigned i) {
  fiber->linear = i;
  fiber->lane = i & 31;
  fiber->warp = scheduler.warps[i / 32].get();
  fiber->exited = false;
  fiber->state = Fiber::kRunning;
  fiber->copy_count = fiber->copy_group = 0;
  fiber->sanitizer_stack = nullptr;
  const dim3& size = context.block_size;
  fiber->thread_index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
  void** top = reinterpret_cast<void**>(static_cast<char*>(fiber->stack) + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(fiber_entry);
  fiber->stack_pointer = top - 6;  // the registers it has not saved
}

[[noreturn]] void report_deadlock(const std::vector<unsigned>& waiting) {
  const Fiber& first = *scheduler.fibers[waiting[0]];
  throw std::runtime_error("deadlock in block " + std::to_string(context.block_linear) + ": " +
                           std::to_string(waiting.size()) + " threads wait, thread " + std::to_string(waiting[0]) +
                           (first.state == Fiber::kAtBarrier ? " at __syncthreads" : " in a warp's collective"));
}

void run_block(unsigned threads, Order order, std::mt19937& random, const std::vector<unsigned>& sequence) {
  const unsigned warp_count = (threads + 31) / 32;
  while (scheduler.warps.size() < warp_count) scheduler.warps.push_back(std::make_unique<Warp>());
  for (unsigned i = 0; i < warp_count; ++i) {
    Warp& warp = *scheduler.warps[i];
    warp.live = i == warp_count - 1 && threads % 32 ? (1u << threads % 32) - 1 : ~0u;
    warp.epoch++;
    warp.full.mask = ~0u;
    warp.full.arrived = warp.full.generation = 0;
    delete[] warp.partial;
    warp.partial = nullptr;
    warp.partial_count = 0;
  }
  scheduler.live = threads;
  scheduler.at_barrier = scheduler.barrier_generation = 0;
  context.block_epoch++;
  while (scheduler.fibers.size() < threads) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    scheduler.fibers.push_back(std::move(fiber));
  }
  for (unsigned i = 0; i < threads; ++i) prepare(scheduler.fibers[i].get(), i);

  std::vector<unsigned> waiting(sequence), next;
  while (!waiting.empty()) {
    bool progress = false;
    next.clear();
    if (order == Order::kRandom) std::shuffle(waiting.begin(), waiting.end(), random);
    for (const unsigned i : waiting) {
      Fiber* const fiber = scheduler.fibers[i].get();
      if (fiber->state != Fiber::kRunning && *fiber->awaited == fiber->awaited_value) {
        next.push_back(i);
        continue;
      }
      progress = true;
      to_fiber(fiber);
      if (!fiber->exited) next.push_back(i);
    }
    if (!progress) report_deadlock(next);
    waiting.swap(next);
  }
}

}  // namespace

void block_barrier() {
  Fiber* const fiber = context.fiber;
  const unsigned generation = scheduler.barrier_generation;
  if (++scheduler.at_barrier == scheduler.live) return open_barrier();
  fiber->awaited = &scheduler.barrier_generation;
  fiber->awaited_value = generation;
  fiber->state = Fiber::kAtBarrier;
  to_scheduler(fiber);
  fiber->state = Fiber::kRunning;
}

bool arrive(unsigned mask, Group** group, unsigned* generation) {
  constexpr int kMostMasks = 64;
  Warp* const warp = context.fiber->warp;
  Group* found = &warp->full;
  if (mask != ~0u) {
    found = nullptr;
    if (!warp->partial) warp->partial = new Group[kMostMasks]();
    for (int i = 0; i < warp->partial_count; ++i) {
      if (warp->partial[i].mask == mask) found = &warp->partial[i];
    }
    if (!found) {
      if (warp->partial_count == kMostMasks) std::abort();
      found = &warp->partial[warp->partial_count++];
      found->mask = mask;
    }
  }
  *group = found;
  *generation = found->generation;
  found->arrived |= 1u << context.fiber->lane;
  return found->arrived == (mask & warp->live);
}

void release(Group* group) {
  group->arrived = 0;
  group->generation++;
}

void await(Group* group, unsigned generation) {
  Fiber* const fiber = context.fiber;
  fiber->awaited = &group->generation;
  fiber->awaited_value = generation;
  fiber->state = Fiber::kInCollective;
  to_scheduler(fiber);
  fiber->state = Fiber::kRunning;
}

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, Order order, const std::function<void()>& body) {
  const unsigned threads = block.x * block.y * block.z;
  const size_t blocks = size_t(grid.x) * grid.y * grid.z;
  if (!scheduler.shared) {
    scheduler.shared = static_cast<unsigned char*>(
        mmap(nullptr, kMostSharedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  scheduler.body = &body;
  context.block_size = block;
  context.grid_size = grid;
  context.dynamic_shared = scheduler.shared;
  context.dynamic_shared_bytes = shared_bytes;
  std::mt19937 random(1);
  std::vector<unsigned> sequence(threads);
  for (unsigned i = 0; i < threads; ++i) sequence[i] = order == Order::kReverse ? threads - 1 - i : i;
  for (size_t i = 0; i < blocks; ++i) {
    const size_t index = order == Order::kReverse ? blocks - 1 - i : i;
    context.block_index = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y),
                           unsigned(index / (size_t(grid.x) * grid.y))};
    context.block_linear = static_cast<unsigned>(index);
    std::memset(scheduler.shared, 0xff, shared_bytes);  // NaNs: what is read before it is written shows
    run_block(threads, order, random, sequence);
  }
  context.fiber = nullptr;
}

#if !defined(SIMT_CHECKED)
void note(const void*, int, Access) {}
#endif

}  // namespace simt
