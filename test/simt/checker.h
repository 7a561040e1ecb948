// The checked build checks every memory access of a kernel:
//
//   races       two threads of a block access an address without a barrier between them (within a warp, __syncwarp is
//               enough), and one of them writes; or two blocks do so in one launch, except through atomics, or ordered
//               by __threadfence and an atomic
//   copies      an address is used while an asynchronous copy to it is in flight
//   bounds      outside device memory, or beyond the requested shared memory; this ends the launch
//   alignment   the address is not a multiple of the access's size; this ends the launch
//   contents    memory is read that was never written, or shared memory that was not written in this block
//   lanes       a shuffle reads from a lane that does not take part
//   asynchrony  see async_checks.h
//
// Kernels are compiled for the thread sanitizer, whose library is not linked: checker.cc implements the functions that
// the compiler calls before every access. In the other builds all of these functions are empty.

#pragma once

#include <cstddef>
#include <string>

namespace simt::checker {

// Tensor copies, and products that read their results, are ordered by barriers: async_checks.h checks their order.
enum class Access { kRead, kWrite, kAtomic, kCopyStarted, kCopyLanded, kTensorStarted, kTensorLanded, kProductRead };

#if defined(SIMT_CHECKED)

// Reports an access that the compiler does not instrument.
void note(const void* address, size_t bytes, Access);
void fence();
void missing_lane(unsigned lane);
// Reports a finding of another check: by the calling thread, at `code` or, if null, somewhere in the kernel.
void tell(const char* what, const void* code, const std::string& whom);

void launch_begins();
void block_begins();
std::string launch_ends();  // returns the findings, or ""

// Device memory.
void allocated(const void* address, size_t bytes);
void freed(const void* address);
void filled(const void* address, size_t bytes);  // written from outside kernels

size_t accesses();  // the number of accesses checked so far

#else

inline void note(const void*, size_t, Access) {}
inline void fence() {}
inline void launch_begins() {}
inline void block_begins() {}
inline std::string launch_ends() {
  return {};
}
inline void allocated(const void*, size_t) {}
inline void freed(const void*) {}
inline void filled(const void*, size_t) {}
inline size_t accesses() {
  return 0;
}

#endif

}  // namespace simt::checker
