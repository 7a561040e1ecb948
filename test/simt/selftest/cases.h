// The cases of the self-test: kernels with planted bugs and their correct versions, and instructions of warps.

#pragma once

#include <cstdint>
#include <vector>

#include "cuda/machine/machine.h"

namespace simt::selftest {

// An array of T in device memory.
template <class T>
class Memory {
 public:
  explicit Memory(size_t count) : count_(count) { SANA_CUDA(cudaMalloc(reinterpret_cast<void**>(&data_), bytes())); }
  Memory(const std::vector<T>& values, cudaStream_t stream) : Memory(values.size()) {
    SANA_CUDA(cudaMemcpyAsync(data_, values.data(), bytes(), cudaMemcpyHostToDevice, stream));
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  T* data() const { return data_; }
  std::vector<T> read(cudaStream_t stream) const {
    std::vector<T> values(count_);
    SANA_CUDA(cudaMemcpyAsync(values.data(), data_, bytes(), cudaMemcpyDeviceToHost, stream));
    SANA_CUDA(cudaStreamSynchronize(stream));
    return values;
  }

 private:
  size_t bytes() const { return count_ * sizeof(T); }
  T* data_ = nullptr;
  const size_t count_;
};

struct Planted {
  const char* name;
  // Runs with or without the bug and returns whether the result is correct. Throws the runtime's errors.
  bool (*run)(bool bug, cudaStream_t);
  bool by_result;       // the result is wrong, or an error is reported, in at least one order of threads in every build
  const char* checked;  // the finding of the checked build, or null if none
  bool sanitized;       // whether the sanitizers end the process
};
extern const std::vector<Planted> kPlanted, kHopperPlanted;

struct Instruction {
  const char* name;
  bool (*run)(cudaStream_t);
};
extern const std::vector<Instruction> kInstructions, kHopperInstructions;

// Runs a kernel with about this many memory accesses, for measuring.
void run_many_accesses(size_t accesses, cudaStream_t);

}  // namespace simt::selftest
