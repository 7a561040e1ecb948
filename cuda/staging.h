// Pinned host memory that data passes through on its way to the device: the caller's memory is free again as soon as it
// has been copied here, while the transfer, and the kernel that works on it, run behind. A ring of blocks; a block is
// reused once the work queued on it is done.

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

  // The next block, once nothing reads it any more. Taken at first use: 16 MiB of host memory.
  Block take();
  // What has been queued on the stream so far is all that reads the block.
  void give_back(const Block&, cudaStream_t);

  void release();

 private:
  char* host_ = nullptr;
  cudaEvent_t done_[kBlocks] = {};
  int next_ = 0;
};

}  // namespace sana::cuda
