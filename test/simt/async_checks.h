// Checks of the checked build for asynchronous tensor copies and products, which are ordered by barriers and not by
// __syncthreads. It finds two kinds of bugs:
//
// - A thread reads shared memory that a tensor copy wrote without having waited for the phase that the copy completed.
// - A tensor copy starts to overwrite memory that products may still read: its thread has not learned through barriers
//   that all warps have waited for these products.
//
// A thread that has waited for a phase knows what the threads that arrived at it knew: which phases were complete, and
// which products of each warp. The checks use this knowledge and not the actual order of events, so a bug is found in
// any order of threads.

#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

struct Barrier;

namespace async_checks {

#if defined(SIMT_CHECKED)

void block_begins(unsigned threads);
void block_synchronised();  // __syncthreads: every thread now knows what any thread knew

void arrived(const Barrier&);
void phase_completed(const Barrier&);
void waited(const Barrier&);

void copy_started(const void* shared, size_t bytes);
void copy_landed(const void* shared, size_t bytes, const Barrier&);  // called before the barrier counts the bytes

// The calling thread's product with this index in its warpgroup reads this memory.
void product_reads(const void* shared, size_t bytes, unsigned index);
void products_done(unsigned count);  // the calling thread knows that this many are done

void thread_reads(uintptr_t address, size_t bytes, const void* code);

#else

inline void block_begins(unsigned) {}
inline void block_synchronised() {}
inline void arrived(const Barrier&) {}
inline void phase_completed(const Barrier&) {}
inline void waited(const Barrier&) {}
inline void copy_started(const void*, size_t) {}
inline void copy_landed(const void*, size_t, const Barrier&) {}
inline void product_reads(const void*, size_t, unsigned) {}
inline void products_done(unsigned) {}

#endif

}  // namespace async_checks
}  // namespace simt
