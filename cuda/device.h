// An open device: its stream, its workspace, its pinned staging memory, and the memory allocated on it.
//
// One executor thread does the work; other threads allocate and free memory. They must neither wait for the device nor
// use a stream that may be capturing a graph, so they record requests (memory to zero, memory to free), which the
// executor's thread carries out when it calls enter().

#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cuda/kernel.h"
#include "cuda/staging.h"
#include "cuda/tensor_maps.h"

struct SanaMemory {
  char* data;
  uint64_t bytes;
};

namespace sana::cuda {

// Marks the device as open during the object's lifetime. If the device was lost to a fault in a kernel, the constructor
// resets it, or throws if the device is still open elsewhere in the process.
class InUse {
 public:
  explicit InUse(int index);
  ~InUse();
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  const int index_;
};

}  // namespace sana::cuda

struct SanaDevice {
  // `path`: a variant of kernels/tiles.h, kHopperPath, or both as in "sm_90a-wgmma:128x144". Null or empty: the
  // portable path.
  SanaDevice(int index, const char* path);
  ~SanaDevice();
  SanaDevice(const SanaDevice&) = delete;
  SanaDevice& operator=(const SanaDevice&) = delete;

  // Makes the device current for this thread.
  void select() const;

  // The executor's thread calls this first. Selects the device and carries out the requests of other threads.
  void enter();

  SanaMemory* allocate(uint64_t bytes);  // throws ERR_SANA_MEMORY, "required, free"
  void free(SanaMemory*);

  // The bytes of memory that free() was called for and that is not yet freed.
  uint64_t freed_bytes();

  // Waits for the stream and throws the first error of the work queued on it.
  void wait();

  const int index;
  SanaRefusal refusals[kSanaDTypeCount];  // as in describe()
  std::string variant;
  sana::cuda::Stream stream = {};
  sana::cuda::Staging staging;

 private:
  void release_freed();  // the caller holds mutex_

  void take_hopper_path();  // throws if the device does not support it

  const sana::cuda::InUse in_use_;
  int capability_ = 0;  // 89: compute capability 8.9
  std::optional<sana::cuda::TensorMaps> tensor_maps_;
  std::mutex mutex_;
  std::vector<SanaMemory*> unzeroed_, freed_;
};

namespace sana::cuda {

inline constexpr int kLeastCapability = 80;  // bf16 tensor cores and asynchronous copies: Ampere

inline constexpr int kLeastF8Capability = 89;  // e4m3 matrix instructions: Ada

// Matrix products by kernels/matrix_hopper.cuh, on devices of compute capability 9.0 only.
inline constexpr const char* kHopperPath = "sm_90a-wgmma";

// Fills in everything but workspace_bytes. If the device cannot be used, `problem` says why.
void describe(int index, SanaDeviceInfo*);

int count_devices();  // throws ERR_SANA_DEVICE if something is wrong with the driver

}  // namespace sana::cuda
