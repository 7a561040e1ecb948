#include "cuda/device.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "binding/error.h"
#include "cuda/error.h"

namespace sana::cuda {

int count_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count;
  cudaGetLastError();
  if (status == cudaErrorNoDevice) return 0;
  int driver = 0;
  if (status == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
    throw Error("ERR_SANA_DEVICE", "no NVIDIA driver was found (libcuda.so.1)");
  }
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    throw Error("ERR_SANA_DEVICE", "the NVIDIA driver is too old: it offers CUDA %d.%d, CUDA %d is needed",
                driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000);
  }
  check(status, "the NVIDIA driver does not answer");
  return 0;
}

void describe(int index, SanaDeviceInfo* info) {
  if (const int count = count_devices(); index < 0 || index >= count) {
    throw Error("ERR_SANA_DEVICE", "there are %d CUDA devices, got index %d", count, index);
  }
  *info = {};
  cudaDeviceProp properties;
  SANA_CUDA(cudaGetDeviceProperties(&properties, index));
  std::snprintf(info->name, sizeof info->name, "%.127s", properties.name);
  std::snprintf(info->path, sizeof info->path, "sm_%d%d", properties.major, properties.minor);
  info->total_bytes = properties.totalGlobalMem;
  info->units = static_cast<uint32_t>(properties.multiProcessorCount);
  if (properties.major * 10 + properties.minor < kLeastCapability) {
    std::snprintf(info->problem, sizeof info->problem, "compute capability %d.%d is below the %d.%d that is needed",
                  properties.major, properties.minor, kLeastCapability / 10, kLeastCapability % 10);
    return;
  }
  SANA_CUDA(cudaSetDevice(index));
  size_t free, total;
  SANA_CUDA(cudaMemGetInfo(&free, &total));
  info->free_bytes = free;
  info->total_bytes = total;
}

}  // namespace sana::cuda

using sana::Error;
using sana::cuda::check;

SanaDevice::SanaDevice(int index, const char* variant) : index(index), variant(variant ? variant : "") {
  SanaDeviceInfo info;
  sana::cuda::describe(index, &info);
  if (info.problem[0]) throw Error("ERR_SANA_DEVICE", "%s: %s", info.name, info.problem);
  select();
  stream.variant = this->variant.c_str();
  stream.multiprocessors = static_cast<int>(info.units);
  stream.workspace_bytes = sana::cuda::kWorkspaceBytes;
  SANA_CUDA(cudaDeviceGetAttribute(&stream.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
  try {
    SANA_CUDA(cudaStreamCreateWithFlags(&stream.handle, cudaStreamNonBlocking));
    check(cudaMalloc(reinterpret_cast<void**>(&stream.workspace), stream.workspace_bytes), "no room for a workspace");
  } catch (...) {
    if (stream.handle) cudaStreamDestroy(stream.handle);
    throw;
  }
}

SanaDevice::~SanaDevice() {
  cudaSetDevice(index);
  cudaStreamSynchronize(stream.handle);
  {
    const std::lock_guard lock(mutex_);
    release_freed();
  }
  staging.release();
  cudaFree(stream.workspace);
  cudaStreamDestroy(stream.handle);
  cudaGetLastError();  // of a device that was lost
}

void SanaDevice::select() const {
  SANA_CUDA(cudaSetDevice(index));
}

void SanaDevice::enter() {
  select();
  const std::lock_guard lock(mutex_);
  release_freed();
  for (const SanaMemory* memory : unzeroed_) {
    SANA_CUDA(cudaMemsetAsync(memory->data, 0, memory->bytes, stream.handle));
  }
  unzeroed_.clear();
}

// cudaFree waits for the device, which is why only the executor's thread and a failing allocation come here.
void SanaDevice::release_freed() {
  for (SanaMemory* memory : freed_) {
    cudaFree(memory->data);
    delete memory;
  }
  freed_.clear();
}

SanaMemory* SanaDevice::allocate(uint64_t bytes) {
  select();
  auto memory = std::make_unique<SanaMemory>(SanaMemory{nullptr, bytes});
  const std::lock_guard lock(mutex_);
  unzeroed_.reserve(unzeroed_.size() + 1);
  void* data = nullptr;
  cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation && !freed_.empty()) {
    cudaGetLastError();
    release_freed();
    status = cudaMalloc(&data, bytes);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error("ERR_SANA_MEMORY", "%llu bytes required, %llu of %llu bytes free on cuda:%d",
                static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(free),
                static_cast<unsigned long long>(total), index);
  }
  check(status, "cudaMalloc");
  memory->data = static_cast<char*>(data);
  unzeroed_.push_back(memory.get());
  return memory.release();
}

void SanaDevice::free(SanaMemory* memory) {
  const std::lock_guard lock(mutex_);
  std::erase(unzeroed_, memory);
  freed_.push_back(memory);
}

uint64_t SanaDevice::freed_bytes() {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const SanaMemory* memory : freed_) bytes += memory->bytes;
  return bytes;
}

void SanaDevice::wait() {
  const cudaError_t status = cudaStreamSynchronize(stream.handle);
  if (status == cudaSuccess) return;
  check(status, "a kernel failed on the device; dispose of what uses it and load again");
}
