#include "test/simt/async_checks.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "test/simt/barriers.h"
#include "test/simt/checker.h"
#include "test/simt/scheduler.h"

namespace simt::async_checks {
namespace {

constexpr unsigned kMostWarps = 32, kMostBarriers = 64;

// The knowledge of a thread, or of threads that wait for a barrier's phase: how many phases of each barrier are
// complete, and how many products of its warpgroup each warp has waited for.
struct Knowledge {
  std::array<unsigned, kMostBarriers> phases = {};
  std::array<unsigned, kMostWarps> products = {};

  void learn(const Knowledge& other) {
    for (unsigned i = 0; i < kMostBarriers; ++i) phases[i] = std::max(phases[i], other.phases[i]);
    for (unsigned i = 0; i < kMostWarps; ++i) products[i] = std::max(products[i], other.products[i]);
  }
};

// The last tensor copy that has written, or is about to write, a piece of shared memory.
struct Part {
  uintptr_t begin, end;
  bool landed = false;
  int barrier = 0;
  unsigned phase = 0;                             // the barrier's phase that the copy belongs to
  std::array<unsigned, kMostWarps> readers = {};  // per warp, the number of products up to the last that reads this
};

std::vector<Knowledge> threads;
std::array<Knowledge, kMostBarriers> gathered, told;  // from threads that arrived; through complete phases
std::vector<Part> parts;
bool used = false;  // whether this block has used any barrier

Knowledge& own() {
  return threads[context.fiber->linear];
}
unsigned own_warp() {
  return context.fiber->linear / 32;
}

template <class Body>
void each_part(uintptr_t begin, size_t bytes, const Body& body) {
  for (Part& part : parts) {
    if (part.begin < begin + bytes && begin < part.end) body(part);
  }
}

void check_read(const Part& part, const void* code) {
  if (!part.landed) {
    checker::tell("a read of a tensor copy that is in flight", code, "");
  } else if (own().phases[static_cast<unsigned>(part.barrier)] <= part.phase) {
    checker::tell("a read of a tensor copy whose barrier was not waited for", code,
                  ", phase " + std::to_string(part.phase) + " of barrier " + std::to_string(part.barrier));
  }
}

unsigned index_of(const Barrier& barrier) {
  if (barrier.index >= static_cast<int>(kMostBarriers)) abandon_launch("more barriers than the checked build supports");
  used = true;
  return static_cast<unsigned>(barrier.index);
}

}  // namespace

void block_begins(unsigned count) {
  threads.assign(count, {});
  gathered = told = {};
  parts.clear();
  used = false;
}

void block_synchronised() {
  if (!used) return;
  Knowledge all;
  for (const Knowledge& one : threads) all.learn(one);
  for (Knowledge& one : threads) one = all;
}

void arrived(const Barrier& barrier) {
  gathered[index_of(barrier)].learn(own());
}

void phase_completed(const Barrier& barrier) {
  const unsigned i = index_of(barrier);
  told[i].learn(gathered[i]);
  told[i].phases[i] = barrier.phase;
}

void waited(const Barrier& barrier) {
  own().learn(told[index_of(barrier)]);
}

void copy_started(const void* shared, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(shared);
  each_part(begin, bytes, [&](const Part& part) {
    if (!part.landed) checker::tell("a tensor copy over another that is in flight", nullptr, "");
    for (unsigned warp = 0; warp < kMostWarps; ++warp) {
      if (part.readers[warp] > own().products[warp]) {
        checker::tell("a tensor copy over memory that products may still read", nullptr,
                      ", products of warp " + std::to_string(warp));
        break;
      }
    }
  });
  std::erase_if(parts, [&](const Part& part) { return part.begin < begin + bytes && begin < part.end; });
  parts.push_back({begin, begin + bytes});
}

void copy_landed(const void* shared, size_t bytes, const Barrier& barrier) {
  each_part(reinterpret_cast<uintptr_t>(shared), bytes, [&](Part& part) {
    part.landed = true;
    part.barrier = static_cast<int>(index_of(barrier));
    part.phase = barrier.phase;
  });
}

void product_reads(const void* shared, size_t bytes, unsigned index) {
  if (context.fiber->linear % 128 == 0) checker::note(shared, bytes, checker::Access::kProductRead);
  each_part(reinterpret_cast<uintptr_t>(shared), bytes, [&](Part& part) {
    check_read(part, nullptr);
    part.readers[own_warp()] = std::max(part.readers[own_warp()], index + 1);
  });
}

void products_done(unsigned count) {
  own().products[own_warp()] = count;
}

void thread_reads(uintptr_t address, size_t bytes, const void* code) {
  if (!used) return;
  each_part(address, bytes, [&](const Part& part) { check_read(part, code); });
}

}  // namespace simt::async_checks
