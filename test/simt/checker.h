// The checked build looks at every access of a kernel to memory:
//
//   races       two threads of a block use an address, one of them writes, no barrier between (__syncwarp will do
//   within
//               a warp); two blocks do in one launch, unless through atomics, or behind __threadfence and an atomic
//   copies      an address is used that an asynchronous copy is under way to
//   bounds      outside device memory, or beyond the shared memory that was asked for; this ends the launch
//   alignment   an access that is no multiple of its size away from zero; this ends the launch
//   contents    memory is read that nobody ever wrote, shared memory that nobody wrote in this block
//   lanes       a shuffle takes the value of a lane that gave none
//   asynchrony  async_checks.h
//
// Kernels are compiled for a thread sanitizer that is not linked: the calls that the compiler puts before every access
// come here. In the other builds all of this is empty.

#pragma once

#include <cstddef>
#include <string>

namespace simt::checker {

// Tensor copies, and products that read what they wrote, are ordered by barriers: async_checks.h judges what comes
// before and after them.
enum class Access { kRead, kWrite, kAtomic, kCopyStarted, kCopyLanded, kTensorStarted, kTensorLanded, kProductRead };

#if defined(SIMT_CHECKED)

// An access that the compiler does not see.
void note(const void* address, size_t bytes, Access);
void fence();
void missing_lane(unsigned lane);
// A finding of others: by the calling thread, at `code` or, when null, somewhere in the kernel.
void tell(const char* what, const void* code, const std::string& whom);

void launch_begins();
void block_begins();
std::string launch_ends();  // what was found, or nothing

// Device memory.
void allocated(const void* address, size_t bytes);
void freed(const void* address);
void filled(const void* address, size_t bytes);  // from outside kernels

size_t accesses();  // looked at so far

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
