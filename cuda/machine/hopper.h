// Features of compute capability 9.0, in code for sm_90a: barriers in shared memory that also count bytes (mbarrier),
// copies of boxes of a tensor by the tensor memory accelerator (TMA), and matrix products of a warpgroup, four warps,
// from shared memory (wgmma). Written in PTX, like machine.h; the emulation has a header of the same name.

#pragma once

#include <cuda.h>

#include <type_traits>

#include "cuda/machine/machine.h"

// Whether this is device code for sm_90a. The body of a kernel that uses this header is inside #if and #endif: for all
// other architectures the kernel is empty and never launched.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SANA_HOPPER_CODE 1
#else
#define SANA_HOPPER_CODE 0
#endif

namespace sana::cuda {

inline constexpr int kWarpgroup = 128;  // threads

// ---- barriers -------------------------------------------------------------------------------------------------------
// A barrier counts arrivals and bytes. A phase is complete when the number of arrivals given at initialisation and all
// expected bytes have arrived; then the next phase begins. Phases have parities 0, 1, 0, ...

using Barrier = uint64_t;  // in shared memory

__device__ __forceinline__ void barrier_init(Barrier* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

// Makes the barriers visible to copies. Call it after the thread's barrier_init and before the __syncthreads at which
// all users wait.
__device__ __forceinline__ void barrier_init_done() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives, and adds to the bytes that the phase expects.
__device__ __forceinline__ void barrier_arrive_expecting(Barrier* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// Waits until the current phase does not have this parity, that is, until the last phase of this parity is complete.
// For a new barrier, the phase before the first counts as complete.
__device__ __forceinline__ void barrier_wait(Barrier* barrier, uint32_t parity) {
  uint32_t complete;
  do {
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
        "selp.u32 %0, 1, 0, complete;\n"
        "}\n"
        : "=r"(complete)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (!complete);
}

// ---- copies of tensors ----------------------------------------------------------------------------------------------
// One thread starts a copy. The barrier counts the box's bytes, including zeros for elements outside the tensor, as
// they arrive. `map` is a __grid_constant__ parameter of the kernel, see cuda/tensor_maps.h.

// The box of map.tiles(...) at (i0, i1, i2, i3), fastest dimension first.
__device__ __forceinline__ void copy_tile(void* shared, const CUtensorMap& map, Barrier* barrier, int i0, int i1,
                                          int i2, int i3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4,%5,%6}], "
      "[%2];\n" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(i0), "r"(i1), "r"(i2), "r"(i3)
      : "memory");
}

// The column of map.pixels(...) that begins at pixel (x, y) of an image, with each pixel replaced by the one at the
// offset (right, below) from it.
__device__ __forceinline__ void copy_pixels(void* shared, const CUtensorMap& map, Barrier* barrier, int channel, int x,
                                            int y, int image, int right, int below) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3,%4,%5,%6}], [%2], {%7,%8};\n" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(channel), "r"(x), "r"(y), "r"(image),
      "h"(static_cast<uint16_t>(right)), "h"(static_cast<uint16_t>(below))
      : "memory");
}

// ---- registers ------------------------------------------------------------------------------------------------------
// Sets the number of registers of each thread of a warpgroup; all of its threads must call it. Fewer than the kernel
// was launched with, or more, once other warpgroups have released theirs. A multiple of eight.

template <int count>
__device__ __forceinline__ void give_registers_up() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(count));
}
template <int count>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(count));
}

// ---- matrix products of a warpgroup ---------------------------------------------------------------------------------

// Rows of 64 16-bit elements, 128 bytes, as stored by tile copies: the eight 16-byte chunks of a row are permuted by
// chunk ^= row % 8; eight rows are a group of 1024 bytes; groups are contiguous. `rows` is in the first row of a group.
// Add kDescriptorStep to advance 16 elements along the rows.
__device__ __forceinline__ uint64_t matrix_descriptor(const void* rows) {
  constexpr uint64_t kSwizzle128 = uint64_t(1) << 62, kGroupBytes = uint64_t(1024 / 16) << 32;
  constexpr uint64_t kUnused = uint64_t(1) << 16;  // the stride along K, which this layout does not use
  return kSwizzle128 | kGroupBytes | kUnused | (shared_address(rows) & 0x3ffff) >> 4;
}
inline constexpr uint64_t kDescriptorStep = 32 / 16;

// Required before the first product, and whenever other code has accessed the sums.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

// Ends a group of products.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

// Waits until at most `pending` groups are in flight. The sums of the others are complete, and their shared memory has
// been read.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(pending) : "memory");
}

// Tells the compiler that the sums may have changed: it does not know of asynchronous products.
template <int groups>
__device__ __forceinline__ void wgmma_settled(float (&sums)[groups][4]) {
#pragma unroll
  for (int j = 0; j < groups; ++j) {
    asm volatile("" : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])::"memory");
  }
}

// Queues sums = left right^T, or += with `add`. left [64, 16] and right [8 groups, 16] are given by descriptors; T is
// bf16 or f16. Lane l of warp w, with g = l / 4 and t = 2 (l % 4), holds for column group j
//   sums[j]: (16 w + g, 8 j + t) (16 w + g, 8 j + t + 1) (16 w + g + 8, 8 j + t) (16 w + g + 8, 8 j + t + 1)
// There is an overload for each number of groups that tiles have, generated from the lists of its registers and their
// names.

#define SANA_SUMS_8(j) "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])
#define SANA_SUMS_16(j) SANA_SUMS_8(j), SANA_SUMS_8(j + 1)
#define SANA_SUMS_32(j) SANA_SUMS_16(j), SANA_SUMS_16(j + 2)
#define SANA_REGISTERS_64 SANA_SUMS_32(0), SANA_SUMS_32(4)
#define SANA_REGISTERS_128 SANA_REGISTERS_64, SANA_SUMS_32(8), SANA_SUMS_32(12)
#define SANA_REGISTERS_144 SANA_REGISTERS_128, SANA_SUMS_16(16)
#define SANA_REGISTERS_160 SANA_REGISTERS_144, SANA_SUMS_16(18)
#define SANA_REGISTERS_176 SANA_REGISTERS_160, SANA_SUMS_16(20)
#define SANA_REGISTERS_192 SANA_REGISTERS_176, SANA_SUMS_16(22)
#define SANA_REGISTERS_208 SANA_REGISTERS_192, SANA_SUMS_16(24)
#define SANA_REGISTERS_224 SANA_REGISTERS_208, SANA_SUMS_16(26)
#define SANA_REGISTERS_256 SANA_REGISTERS_224, SANA_SUMS_32(28)

#define SANA_NAMES_64                                                                                                  \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30," \
  "%31"
#define SANA_NAMES_128                                               \
  SANA_NAMES_64                                                      \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47" \
  ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define SANA_NAMES_144 SANA_NAMES_128 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define SANA_NAMES_160 SANA_NAMES_144 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define SANA_NAMES_176 SANA_NAMES_160 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define SANA_NAMES_192 SANA_NAMES_176 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define SANA_NAMES_208 SANA_NAMES_192 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define SANA_NAMES_224 SANA_NAMES_208 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define SANA_NAMES_256 \
  SANA_NAMES_224       \
  ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

#define SANA_WGMMA_OF(type, columns, left_name, right_name, add_name)                                          \
  asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, " add_name                                              \
               ", 0;\n"                                                                                        \
               "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type " {" SANA_NAMES_##columns \
               "}, " left_name ", " right_name ", adds, 1, 1, 0, 0;\n}\n"                                      \
               : SANA_REGISTERS_##columns                                                                      \
               : "l"(left), "l"(right), "r"(static_cast<int>(add)))

// The last three arguments are the operand numbers of left, right and add, which follow the columns / 2 sums.
#define SANA_WGMMA(columns, left_name, right_name, add_name)                                                      \
  template <class T>                                                                                              \
  __device__ __forceinline__ void wgmma(float (&sums)[columns / 8][4], uint64_t left, uint64_t right, bool add) { \
    if constexpr (std::is_same_v<T, bf16>) {                                                                      \
      SANA_WGMMA_OF("bf16", columns, left_name, right_name, add_name);                                            \
    } else {                                                                                                      \
      SANA_WGMMA_OF("f16", columns, left_name, right_name, add_name);                                             \
    }                                                                                                             \
  }

SANA_WGMMA(64, "%32", "%33", "%34")
SANA_WGMMA(128, "%64", "%65", "%66")
SANA_WGMMA(144, "%72", "%73", "%74")
SANA_WGMMA(160, "%80", "%81", "%82")
SANA_WGMMA(176, "%88", "%89", "%90")
SANA_WGMMA(192, "%96", "%97", "%98")
SANA_WGMMA(208, "%104", "%105", "%106")
SANA_WGMMA(224, "%112", "%113", "%114")
SANA_WGMMA(256, "%128", "%129", "%130")

#undef SANA_WGMMA
#undef SANA_WGMMA_OF

}  // namespace sana::cuda
