// Pinned host memory through which data is transferred to the device. The caller may reuse its memory as soon as the
// data has been copied here; the transfer, and the kernel that processes the data, run asynchronously. A ring of
// blocks: a block is reused once the work queued on it is done.

#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace sana::cuda {

class Staging {
 public:
  static constexpr size_t kBlockBytes = size_t(4) << 20;
  static constexpr int kBlocks = 4;

  struct Block {
    char* host;  // kBlockBytes, pinned
    int index;
  };

  // Returns the next block, after waiting until nothing reads it. The memory, 16 MiB, is allocated at the first call.
  Block take();
  // Call this when all work that reads the block has been queued on the stream.
  void give_back(const Block&, cudaStream_t);

  void release();

 private:
  char* host_ = nullptr;
  cudaEvent_t done_[kBlocks] = {};
  int next_ = 0;
};

}  // namespace sana::cuda
