#include "cuda/staging.h"

#include "cuda/error.h"

namespace sana::cuda {

Staging::Block Staging::take() {
  if (!host_) {
    try {
      for (cudaEvent_t& event : done_) {
        SANA_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
      }
      check(cudaMallocHost(reinterpret_cast<void**>(&host_), kBlocks * kBlockBytes), "no pinned host memory");
    } catch (...) {
      release();
      throw;
    }
  }
  const int index = next_;
  next_ = (next_ + 1) % kBlocks;
  SANA_CUDA(cudaEventSynchronize(done_[index]));
  return {host_ + index * kBlockBytes, index};
}

void Staging::give_back(const Block& block, cudaStream_t stream) {
  SANA_CUDA(cudaEventRecord(done_[block.index], stream));
}

void Staging::release() {
  for (cudaEvent_t& event : done_) {
    if (event) cudaEventDestroy(event);
    event = nullptr;
  }
  cudaFreeHost(host_);
  host_ = nullptr;
}

}  // namespace sana::cuda
