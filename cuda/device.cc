#include "cuda/device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>

#include "core/error.h"
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
    throw Error("ERR_SANA_DEVICE", "the NVIDIA driver is too old: it supports CUDA %d.%d, and CUDA %d is required",
                driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000);
  }
  check(status, "the NVIDIA driver does not respond");
  return 0;
}

namespace {

void check_index(int index) {
  if (const int count = count_devices(); index < 0 || index >= count) {
    throw Error("ERR_SANA_DEVICE", "there are %d CUDA devices, got index %d", count, index);
  }
}

// After a fault in a kernel, every call of this process on the device fails until the device is reset. A reset destroys
// all of the process's memory and streams on it, so it must wait until the device is no longer open anywhere in the
// process.
std::mutex open_mutex;
std::map<int, int> open_count;  // by device index

// Makes the device current, after a reset if it was lost, and queries its memory, which reports a sticky fault. Returns
// why the device cannot be used, or "". The caller holds open_mutex.
std::string select_or_reset(int index, size_t* free, size_t* total) {
  const auto select = [&] {
    const cudaError_t status = cudaSetDevice(index);
    return status == cudaSuccess ? cudaMemGetInfo(free, total) : status;
  };
  cudaError_t status = select();
  if (status == cudaSuccess) return "";
  int current = -1;
  cudaGetLastError();
  const bool in_use = open_count[index] > 0;
  if (!in_use && cudaGetDevice(&current) == cudaSuccess && current == index) {
    cudaDeviceReset();
    cudaGetLastError();
    status = select();
    if (status == cudaSuccess) return "";
    cudaGetLastError();
  }
  return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")" +
         (in_use ? "; dispose of everything that uses the device, then open it again" : "");
}

}  // namespace

void describe(int index, SanaDeviceInfo* info) {
  check_index(index);
  *info = {};
  cudaDeviceProp properties;
  SANA_CUDA(cudaGetDeviceProperties(&properties, index));
  std::snprintf(info->name, sizeof info->name, "%.127s", properties.name);
  std::snprintf(info->path, sizeof info->path, "sm_%d%d", properties.major, properties.minor);
  info->total_bytes = properties.totalGlobalMem;
  info->units = static_cast<uint32_t>(properties.multiProcessorCount);
  info->default_dtype = kSanaBF16;
  if (properties.major * 10 + properties.minor < kLeastF8Capability) {
    SanaRefusal& refusal = info->refusals[kSanaF8];
    refusal.code = "ERR_SANA_DEVICE";
    std::snprintf(refusal.reason, sizeof refusal.reason,
                  "fp8 needs compute capability %d.%d; this is %d.%d; use 'int8'", kLeastF8Capability / 10,
                  kLeastF8Capability % 10, properties.major, properties.minor);
  }
  if (properties.major * 10 + properties.minor < kLeastCapability) {
    std::snprintf(info->problem, sizeof info->problem, "compute capability %d.%d is below the required %d.%d",
                  properties.major, properties.minor, kLeastCapability / 10, kLeastCapability % 10);
    return;
  }
  size_t free, total;
  const std::lock_guard lock(open_mutex);
  if (const std::string why = select_or_reset(index, &free, &total); !why.empty()) {
    std::snprintf(info->problem, sizeof info->problem, "%s", why.c_str());
    return;
  }
  info->free_bytes = free;
  info->total_bytes = total;
}

InUse::InUse(int index) : index_(index) {
  check_index(index);
  size_t free, total;
  const std::lock_guard lock(open_mutex);
  if (const std::string why = select_or_reset(index, &free, &total); !why.empty()) {
    throw Error("ERR_SANA_DEVICE", "cuda:%d: %s", index, why.c_str());
  }
  ++open_count[index];
}

InUse::~InUse() {
  const std::lock_guard lock(open_mutex);
  --open_count[index_];
}

}  // namespace sana::cuda

using sana::Error;
using sana::cuda::check;

SanaDevice::SanaDevice(int index, const char* path) : index(index), in_use_(index) {
  SanaDeviceInfo info;
  sana::cuda::describe(index, &info);
  if (info.problem[0]) throw Error("ERR_SANA_DEVICE", "%s: %s", info.name, info.problem);
  std::copy(std::begin(info.refusals), std::end(info.refusals), refusals);
  select();
  int major = 0, minor = 0;
  SANA_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  SANA_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
  capability_ = major * 10 + minor;
  variant = path ? path : "";
  if (variant.starts_with(sana::cuda::kHopperPath)) take_hopper_path();
  stream.variant = variant.c_str();
  stream.multiprocessors = static_cast<int>(info.units);
  stream.workspace_bytes = sana::cuda::kWorkspaceBytes;
  SANA_CUDA(cudaDeviceGetAttribute(&stream.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
  try {
    SANA_CUDA(cudaStreamCreateWithFlags(&stream.handle, cudaStreamNonBlocking));
    check(cudaMalloc(reinterpret_cast<void**>(&stream.workspace), stream.workspace_bytes),
          "cannot allocate the workspace");
  } catch (...) {
    if (stream.handle) cudaStreamDestroy(stream.handle);
    throw;
  }
}

void SanaDevice::take_hopper_path() {
  using sana::cuda::kHopperPath;
  if (capability_ != 90) {
    throw Error("ERR_SANA_DEVICE", "the path %s is for compute capability 9.0, cuda:%d has %d.%d", kHopperPath, index,
                capability_ / 10, capability_ % 10);
  }
#if !defined(SANA_SM_90A)
  throw Error("ERR_SANA_DEVICE", "the path %s is not in this library: it was not built for sm_90a", kHopperPath);
#endif
  variant.erase(0, std::strlen(kHopperPath));
  if (variant.starts_with(':')) variant.erase(0, 1);
  stream.tensor_maps = &tensor_maps_.emplace();
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
  cudaGetLastError();  // clears the error of a lost device
}

void SanaDevice::select() const {
  check(cudaSetDevice(index), "the device was lost, dispose of all that uses it and open it again");
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

// cudaFree waits for the device, so only the executor's thread and a failing allocation call this.
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
  check(status, "a kernel failed on the device, dispose of all that uses it and open it again");
}
