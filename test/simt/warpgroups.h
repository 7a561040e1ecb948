// Matrix products of warpgroups (wgmma). All 128 threads queue a product, each for its own sums. It is computed when a
// thread waits for it; in the random order of threads, some are computed as soon as the last thread has queued its
// part.

#pragma once

#include <cstdint>

#include "test/simt/scheduler.h"

namespace simt {

struct QueuedProduct;

// The arguments that all threads of a warpgroup must pass alike.
struct Product {
  uint64_t left, right;  // descriptors
  bool add;
  int groups;                             // groups of eight columns
  void (*compute)(const QueuedProduct&);  // adds to the sums of its threads

  bool operator==(const Product&) const = default;
};

struct QueuedProduct {
  Product product;
  float* sums[128];  // [groups][4] of each thread
  unsigned arrived;
};

void forget_products(unsigned threads);  // called when a block begins

SIMT_RUNTIME void queue_product(const Product&, float* sums);
SIMT_RUNTIME void commit_products();
SIMT_RUNTIME void wait_for_products(int pending);

// T is __nv_bfloat16 or __half.
template <class T>
void compute_product(const QueuedProduct&);

// A descriptor of at least 64 rows of 128 bytes, as created by matrix_descriptor of cuda/machine/hopper.h.
SIMT_RUNTIME uint64_t describe_matrix(const void* rows);

}  // namespace simt
