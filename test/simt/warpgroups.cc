#include "test/simt/warpgroups.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "test/simt/async_checks.h"
#include "test/simt/collectives.h"
#include "test/simt/tensor_copies.h"

namespace simt {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kMostPending = 7;  // the maximum operand of the instruction

// A thread's part in its warpgroup's products.
struct Share {
  unsigned queued = 0, groups = 0;
  unsigned group_ends[kMostPending + 1] = {};  // numbers of products queued at the end of the last groups, a ring
};

struct Warpgroup {
  std::deque<QueuedProduct> products;  // not yet computed; the last may still lack some threads
  unsigned done = 0;                   // number of computed products
  unsigned ready = 0;                  // number of products queued by all threads
  Share shares[kThreads];
};
std::vector<Warpgroup> warpgroups;

Warpgroup& own() {
  return warpgroups[context.fiber->linear / kThreads];
}
Share& own_share() {
  return own().shares[context.fiber->linear % kThreads];
}

void compute_until(Warpgroup& group, unsigned count) {
  for (; group.done < count; ++group.done) {
    const QueuedProduct& next = group.products.front();
    next.product.compute(next);
    group.products.pop_front();
  }
}

// ---- operands in shared memory --------------------------------------------------------------------------------------

constexpr uint64_t kAddressBits = 0x3fff;
constexpr size_t kGroupBytes = 1024;

// The start of a descriptor's data, as an offset in the dynamic shared memory.
size_t offset_of(uint64_t descriptor, int rows) {
  const size_t offset = (descriptor & kAddressBits) << 4;
  const size_t group_bytes = (descriptor >> 32 & kAddressBits) << 4;
  if (descriptor >> 62 != 1 || group_bytes != kGroupBytes || (descriptor >> 49 & 7) != 0 || (offset >> 7 & 7) != 0) {
    abandon_launch("a matrix descriptor of a layout that the emulation does not support");
  }
  if (offset + static_cast<size_t>(rows) * 128 > context.dynamic_shared_bytes + offset % kGroupBytes) {
    abandon_launch("a matrix descriptor beyond the dynamic shared memory");
  }
  return offset;
}

template <class T>
float element(const unsigned char* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return to_float(bits, T());
}

// Sixteen elements of a row.
template <class T>
void load_row(size_t offset, int row, float (&to)[16]) {
  const size_t at = offset + static_cast<size_t>(row) * 128;
  for (int chunk = 0; chunk < 2; ++chunk) {
    const unsigned char* const from = context.dynamic_shared + swizzled(at + static_cast<size_t>(chunk) * 16);
    for (int i = 0; i < 8; ++i) to[chunk * 8 + i] = element<T>(from + i * 2);
  }
}

}  // namespace

void forget_products(unsigned threads) {
  warpgroups.clear();
  warpgroups.resize((threads + kThreads - 1) / kThreads);
}

void queue_product(const Product& product, float* sums) {
  Warpgroup& group = own();
  Share& share = own_share();
  const unsigned index = share.queued++ - group.done;
  if (index == group.products.size()) {
    offset_of(product.left, 64);
    offset_of(product.right, product.groups * 8);
    group.products.push_back({product, {}, 0});
  }
  QueuedProduct& queued = group.products[index];
  if (queued.product != product) {
    abandon_launch("divergent products in block " + std::to_string(context.block_linear) + ": thread " +
                   std::to_string(context.fiber->linear) + " queues another one than its warpgroup");
  }
  const auto reads = [&](uint64_t descriptor, int rows) {
    const size_t offset = (descriptor & kAddressBits) << 4;
    async_checks::product_reads(context.dynamic_shared + offset / kGroupBytes * kGroupBytes,
                                static_cast<size_t>(rows) * 128, share.queued - 1);
  };
  reads(product.left, 64);
  reads(product.right, product.groups * 8);
  queued.sums[context.fiber->linear % kThreads] = sums;
  if (++queued.arrived < kThreads) return;
  ++group.ready;
  if (context.order == Order::kRandom && group.ready % 2) compute_until(group, group.ready);
}

void commit_products() {
  Share& share = own_share();
  share.group_ends[share.groups++ % (kMostPending + 1)] = share.queued;
}

void wait_for_products(int pending) {
  Warpgroup& group = own();
  const Share& share = own_share();
  if (share.groups <= static_cast<unsigned>(pending)) return;
  const unsigned end = share.group_ends[(share.groups - 1 - static_cast<unsigned>(pending)) % (kMostPending + 1)];
  while (group.ready < end) wait_while(group.ready, group.ready, Fiber::kAtProduct);
  compute_until(group, end);
  async_checks::products_done(end);
}

template <class T>
void compute_product(const QueuedProduct& queued) {
  const Product& product = queued.product;
  using Row = float __attribute__((vector_size(64)));
  constexpr int kMostColumns = 256, kRowElements = 16;
  const int columns = product.groups * 8;
  const size_t left = offset_of(product.left, 64), right = offset_of(product.right, columns);
  alignas(64) float transposed[16][kMostColumns] = {};
  for (int n = 0; n < columns; ++n) {
    float row[16];
    load_row<T>(right, n, row);
    for (int k = 0; k < 16; ++k) transposed[k][n] = row[k];
  }
  for (int m = 0; m < 64; ++m) {
    float row[16];
    load_row<T>(left, m, row);
    alignas(64) float sums[kMostColumns];
    for (int n = 0; n < columns; n += kRowElements) {
      Row sum = {};
      for (int k = 0; k < 16; ++k) sum += row[k] * *reinterpret_cast<const Row*>(&transposed[k][n]);
      *reinterpret_cast<Row*>(&sums[n]) = sum;
    }
    // Row m is row m % 16 of warp m / 16. Each lane that holds part of it has two columns of every group.
    for (int t = 0; t < 4; ++t) {
      float* const to = queued.sums[m / 16 * 32 + m % 8 * 4 + t] + m % 16 / 8 * 2;
      for (int j = 0; j < product.groups; ++j) {
        for (int i = 0; i < 2; ++i) {
          float& sum = to[j * 4 + i];
          sum = product.add ? sum + sums[j * 8 + t * 2 + i] : sums[j * 8 + t * 2 + i];
        }
      }
    }
  }
}

template void compute_product<__nv_bfloat16>(const QueuedProduct&);
template void compute_product<__half>(const QueuedProduct&);

uint64_t describe_matrix(const void* rows) {
  const auto offset = static_cast<const unsigned char*>(rows) - context.dynamic_shared;
  if (offset < 0 || static_cast<size_t>(offset) >= context.dynamic_shared_bytes) {
    abandon_launch("a matrix descriptor of memory that is not dynamic shared memory");
  }
  return uint64_t(1) << 62 | uint64_t(kGroupBytes >> 4) << 32 | uint64_t(1) << 16 | static_cast<uint64_t>(offset) >> 4;
}

}  // namespace simt
