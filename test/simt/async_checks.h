// What the checked build knows of copies and products that are under way while threads go on, and that barriers order
// and not __syncthreads:
//
//   a part of shared memory that a tensor copy wrote is read by threads that have not waited for the phase which the
//   copy completed; or a tensor copy begins to write what products may still read, as nothing tells its thread that all
//   warps have waited for them
//
// Whoever has waited for a phase knows what those who arrived at it knew: which phases were complete, and which
// products of each warp. That is looked at and not what happened to come first, so that a bug is found in any order of
// threads.

#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

struct Barrier;

namespace async_checks {

#if defined(SIMT_CHECKED)

void block_begins(unsigned threads);
void block_synchronised();  // __syncthreads: all know what any knew

void arrived(const Barrier&);
void phase_completed(const Barrier&);
void waited(const Barrier&);

void copy_started(const void* shared, size_t bytes);
void copy_landed(const void* shared, size_t bytes, const Barrier&);  // before the barrier counts it

// The calling thread's product number `index` of its warpgroup reads this.
void product_reads(const void* shared, size_t bytes, unsigned index);
void products_done(unsigned count);  // the calling thread knows of so many

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
