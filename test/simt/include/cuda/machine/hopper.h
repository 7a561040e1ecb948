// The emulation's machine/hopper.h, which defines the names of cuda/machine/hopper.h.

#pragma once

#include <cuda.h>

#include "cuda/machine/machine.h"
#include "test/simt/barriers.h"
#include "test/simt/tensor_copies.h"
#include "test/simt/warpgroups.h"

#undef __grid_constant__
#define __grid_constant__

#define SANA_HOPPER_CODE 1

namespace sana::cuda {

inline constexpr int kWarpgroup = 128;

using Barrier = uint64_t;

inline void barrier_init(Barrier* barrier, uint32_t arrivals) {
  simt::barrier_init(barrier, arrivals);
}
inline void barrier_init_done() {
  simt::barrier_init_done();
}
inline void barrier_arrive(Barrier* barrier) {
  simt::barrier_arrive(barrier, 0);
}
inline void barrier_arrive_expecting(Barrier* barrier, uint32_t bytes) {
  simt::barrier_arrive(barrier, bytes);
}
inline void barrier_wait(Barrier* barrier, uint32_t parity) {
  simt::barrier_wait(barrier, parity);
}

inline void copy_tile(void* shared, const CUtensorMap& map, Barrier* barrier, int i0, int i1, int i2, int i3) {
  simt::copy_tensor(shared, map, false, barrier, {{i0, i1, i2, i3}, 0, 0});
}
inline void copy_pixels(void* shared, const CUtensorMap& map, Barrier* barrier, int channel, int x, int y, int image,
                        int right, int below) {
  simt::copy_tensor(shared, map, true, barrier, {{channel, x, y, image}, right, below});
}

template <int count>
void give_registers_up() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
}
template <int count>
void take_registers() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
}

inline uint64_t matrix_descriptor(const void* rows) {
  return simt::describe_matrix(rows);
}
inline constexpr uint64_t kDescriptorStep = 2;

inline void wgmma_fence() {}
inline void wgmma_commit() {
  simt::commit_products();
}
template <int pending>
void wgmma_wait() {
  static_assert(pending >= 0 && pending <= 7);
  simt::wait_for_products(pending);
}
template <int groups>
void wgmma_settled(float (&)[groups][4]) {}

template <class T, int groups>
void wgmma(float (&sums)[groups][4], uint64_t left, uint64_t right, bool add) {
  simt::queue_product({left, right, add, groups, simt::compute_product<T>}, &sums[0][0]);
}

}  // namespace sana::cuda
