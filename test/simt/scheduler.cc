// Fibers and their scheduling. This file is never instrumented.

#include "test/simt/scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include "test/simt/async_checks.h"
#include "test/simt/barriers.h"
#include "test/simt/checker.h"
#include "test/simt/source.h"
#include "test/simt/tensor_copies.h"
#include "test/simt/traps.h"
#include "test/simt/warpgroups.h"

namespace simt {

Context context;

namespace {

// Saves the callee-saved registers on the stack and switches to another stack (x86-64, System V).
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

void* map_pages(size_t bytes) {
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return pages;
}

struct Scheduler {
  void* stack_pointer = nullptr;
  void* sanitizer_stack = nullptr;
  const void* stack_bottom = nullptr;
  size_t stack_size = 0;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<std::unique_ptr<Warp>> warps;
  unsigned live = 0, at_barrier = 0, barrier_generation = 0;
  int barrier_line = 0;  // line of the first thread to arrive
  std::string failure;   // the reason if the launch was abandoned
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
  context.thread_index = fiber->thread_index;
  context.lane = fiber->lane;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler.sanitizer_stack, fiber->stack, kStackBytes);
#endif
  simt_switch(&scheduler.stack_pointer, fiber->stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler.sanitizer_stack, nullptr, nullptr);
#endif
  context.fiber = nullptr;
}

void open_barrier() {
  scheduler.at_barrier = 0;
  scheduler.barrier_generation++;
  context.epoch++;
  async_checks::block_synchronised();
}

Group* find_group(Warp* warp, unsigned mask) {
  constexpr int kMostMasks = 64;
  if (mask == ~0u) return &warp->full;
  if (!warp->partial) warp->partial = new Group[kMostMasks]();
  for (int i = 0; i < warp->partial_count; ++i) {
    if (warp->partial[i].mask == mask) return &warp->partial[i];
  }
  if (warp->partial_count == kMostMasks) abandon_launch("more masks in one warp than the emulation supports");
  Group* const group = &warp->partial[warp->partial_count++];
  group->mask = mask;
  return group;
}

void complete(Group* group) {
  const unsigned which = group->generation & 1;
  group->lanes[which] = group->arrived;
  if (group->compute) group->compute(group->arrived, group->slots[which]);
  group->arrived = 0;
  group->generation++;
}

// A thread that exits no longer counts at barriers or in its warp. Others may have been waiting only for it.
void exit_thread(Fiber* fiber) {
  Warp* const warp = fiber->warp;
  scheduler.live--;
  warp->live &= ~(1u << fiber->lane);
  for (int i = -1; i < warp->partial_count; ++i) {
    Group& group = i < 0 ? warp->full : warp->partial[i];
    if (group.arrived && group.arrived == (group.mask & warp->live)) complete(&group);
  }
  if (scheduler.live && scheduler.at_barrier == scheduler.live) open_barrier();
  fiber->exited = true;
}

void fiber_entry() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler.stack_bottom, &scheduler.stack_size);
#endif
  (*context.body)();
  exit_thread(context.fiber);
  to_scheduler(context.fiber, true);
  std::abort();
}

void prepare(Fiber* fiber, unsigned i) {
#if defined(__SANITIZE_ADDRESS__)
  if (!fiber->exited) __asan_unpoison_memory_region(fiber->stack, kStackBytes);  // left over from an abandoned launch
#endif
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
  constexpr const char* kPlaces[] = {"", " at __syncthreads", " in a warp's collective", " for a phase of a barrier",
                                     " for products of its warpgroup"};
  const Fiber& first = *scheduler.fibers[waiting[0]];
  throw std::runtime_error("deadlock in block " + std::to_string(context.block_linear) + ": " +
                           std::to_string(waiting.size()) + " threads wait, thread " + std::to_string(waiting[0]) +
                           kPlaces[first.state]);
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
  context.block_epoch = ++context.epoch;
  while (scheduler.fibers.size() < threads) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack = map_pages(kStackBytes);
    scheduler.fibers.push_back(std::move(fiber));
  }
  forget_barriers();
  forget_copies();
  forget_products(threads);
  checker::block_begins();
  async_checks::block_begins(threads);
  for (unsigned i = 0; i < threads; ++i) prepare(scheduler.fibers[i].get(), i);

  std::vector<unsigned> waiting(sequence), next;
  while (!waiting.empty()) {
    bool progress = false;
    next.clear();
    if (order == Order::kRandom) {
      std::shuffle(waiting.begin(), waiting.end(), random);
      if (random() % 2) land_a_copy(&random);
    }
    for (const unsigned i : waiting) {
      Fiber* const fiber = scheduler.fibers[i].get();
      if (fiber->state != Fiber::kRunning && *fiber->awaited == fiber->awaited_value) {
        next.push_back(i);
        continue;
      }
      progress = true;
      to_fiber(fiber);
      if (!scheduler.failure.empty()) throw std::runtime_error(std::exchange(scheduler.failure, {}));
      if (!fiber->exited) next.push_back(i);
    }
    if (!progress && !land_a_copy(order == Order::kRandom ? &random : nullptr)) report_deadlock(next);
    waiting.swap(next);
  }
  if (copies_under_way()) {
    throw std::runtime_error("block " + std::to_string(context.block_linear) +
                             " ended while a tensor copy was in flight");
  }
}

}  // namespace

void abandon_launch(std::string why) {
  scheduler.failure = std::move(why);
  to_scheduler(context.fiber);
  std::abort();
}

void block_barrier(int line) {
  Fiber* const fiber = context.fiber;
  const unsigned generation = scheduler.barrier_generation;
  if (scheduler.at_barrier++ == 0) scheduler.barrier_line = line;
  if (line != scheduler.barrier_line) {
    abandon_launch("divergent barrier in block " + std::to_string(context.block_linear) + ": thread " +
                   std::to_string(fiber->linear) + " waits at __syncthreads in line " + std::to_string(line) +
                   ", others in line " + std::to_string(scheduler.barrier_line));
  }
  if (scheduler.at_barrier == scheduler.live) return open_barrier();
  wait_while(scheduler.barrier_generation, generation, Fiber::kAtBarrier);
}

void wait_while(const unsigned& counter, unsigned value, Fiber::State state) {
  Fiber* const fiber = context.fiber;
  fiber->awaited = &counter;
  fiber->awaited_value = value;
  fiber->state = state;
  to_scheduler(fiber);
  fiber->state = Fiber::kRunning;
}

void yield() {
  to_scheduler(context.fiber);
}

Meeting meet(unsigned mask, const void* in, size_t in_bytes, Compute compute) {
  Fiber* const fiber = context.fiber;
  Group* const group = find_group(fiber->warp, mask);
  const unsigned generation = group->generation, which = generation & 1;
  if (group->arrived == 0) group->compute = compute;
  if (group->compute != compute || !(mask >> fiber->lane & 1)) {
    abandon_launch("divergent collective in block " + std::to_string(context.block_linear) + ": thread " +
                   std::to_string(fiber->linear) +
                   (group->compute != compute ? " is in another one than its warp" : " is not in its own mask"));
  }
  group->arrived |= 1u << fiber->lane;
  if (in_bytes) std::memcpy(group->slots[which][fiber->lane], in, in_bytes);
  if (group->arrived == (mask & fiber->warp->live)) {
    complete(group);
  } else {
    wait_while(group->generation, generation, Fiber::kInCollective);
  }
  return {group, which};
}

void read_missing_lane([[maybe_unused]] unsigned lane) {
#if defined(SIMT_CHECKED)
  checker::missing_lane(lane);
#endif
}

void run_grid(const Grid& launch, Order order, const std::function<void()>& body) {
  const dim3 grid = launch.grid, block = launch.block;
  const unsigned threads = block.x * block.y * block.z;
  const size_t blocks = size_t(grid.x) * grid.y * grid.z;
  if (!context.dynamic_shared) context.dynamic_shared = static_cast<unsigned char*>(map_pages(kMostSharedBytes));
  context.body = &body;
  context.block_size = block;
  context.grid_size = grid;
  context.dynamic_shared_bytes = launch.shared_bytes;
  context.kernel = launch.kernel;
  context.order = order;
  context.launch_epoch = ++context.epoch;
  checker::launch_begins();
  std::mt19937 random(1);
  std::vector<unsigned> sequence(threads);
  for (unsigned i = 0; i < threads; ++i) sequence[i] = order == Order::kReverse ? threads - 1 - i : i;
  try {
    const Traps traps;
    for (size_t i = 0; i < blocks; ++i) {
      const size_t index = order == Order::kReverse ? blocks - 1 - i : i;
      context.block_index = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y),
                             unsigned(index / (size_t(grid.x) * grid.y))};
      context.block_linear = static_cast<unsigned>(index);
      std::memset(context.dynamic_shared, 0xff, launch.shared_bytes);  // NaNs, to find reads of unwritten memory
      run_block(threads, order, random, sequence);
    }
  } catch (const std::runtime_error& error) {
    std::string why = error.what();  // followed by earlier findings
    if (const std::string found = checker::launch_ends(); !found.empty() && found != why) why += "; " + found;
    throw std::runtime_error(name_of(launch.kernel) + ": " + why);
  }
  if (const std::string found = checker::launch_ends(); !found.empty()) {
    throw std::runtime_error(name_of(launch.kernel) + ": " + found);
  }
}

}  // namespace simt
