// What the self-test runs: kernels with planted bugs beside their correct twins, and warps' instructions.

#pragma once

#include <cstdint>
#include <vector>

#include "cuda/machine/machine.h"

namespace simt::selftest {

// Device memory of T.
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
  // With the bug or without; whether the result is right. Throws what the runtime reports.
  bool (*run)(bool bug, cudaStream_t);
  bool by_result;       // wrong, or reported, in at least one order of threads, in every build
  const char* checked;  // what the checked build says, or null: nothing
  bool sanitized;       // the sanitizers end the process
};
extern const std::vector<Planted> kPlanted, kHopperPlanted;

struct Instruction {
  const char* name;
  bool (*run)(cudaStream_t);
};
extern const std::vector<Instruction> kInstructions, kHopperInstructions;

// About this many accesses to memory by one kernel; for measuring.
void run_many_accesses(size_t accesses, cudaStream_t);

}  // namespace simt::selftest
