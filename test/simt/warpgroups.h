// Matrix products of warpgroups (wgmma): queued by all 128 threads, each for its own sums, and computed when somebody
// waits for them; in random order of threads some as soon as the last thread has queued its share.

#pragma once

#include <cstdint>

#include "test/simt/scheduler.h"

namespace simt {

struct QueuedProduct;

// What all threads of a warpgroup give alike.
struct Product {
  uint64_t left, right;  // descriptors
  bool add;
  int groups;                             // of eight columns
  void (*compute)(const QueuedProduct&);  // into the sums of its threads

  bool operator==(const Product&) const = default;
};

struct QueuedProduct {
  Product product;
  float* sums[128];  // [groups][4] of each thread
  unsigned arrived;
};

void forget_products(unsigned threads);  // when a block begins

SIMT_RUNTIME void queue_product(const Product&, float* sums);
SIMT_RUNTIME void commit_products();
SIMT_RUNTIME void wait_for_products(int pending);

// T is __nv_bfloat16 or __half.
template <class T>
void compute_product(const QueuedProduct&);

// 64 rows of 128 bytes and more, as matrix_descriptor of cuda/machine/hopper.h makes it.
SIMT_RUNTIME uint64_t describe_matrix(const void* rows);

}  // namespace simt
