// An open device: its stream, its workspace, its pinned staging memory, and the memory allocated on it.
//
// One executor thread does the work; other threads allocate and free. They must neither wait for the device nor touch a
// stream that may be capturing a graph, so they leave notes (memory to zero, memory to free) that the executor's thread
// acts on when it enters.

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

// While it lives the device is open here. Taking it resets a device that was lost to a fault in a kernel, once nobody
// has it open any more; throws as long as somebody has.
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

  // The executor's thread calls this first: selects the device and acts on the notes.
  void enter();

  SanaMemory* allocate(uint64_t bytes);  // throws ERR_SANA_MEMORY, "required, free"
  void free(SanaMemory*);

  // Of memory that was given back and is not free yet.
  uint64_t freed_bytes();

  // Throws what has gone wrong on the stream so far once it is done.
  void wait();

  const int index;
  SanaRefusal refusals[kSanaDTypeCount];  // as describe() gives them
  std::string variant;
  sana::cuda::Stream stream = {};
  sana::cuda::Staging staging;

 private:
  void release_freed();  // mutex_ is held

  void take_hopper_path();  // throws where it cannot be

  const sana::cuda::InUse in_use_;
  int capability_ = 0;  // 89: compute capability 8.9
  std::optional<sana::cuda::TensorMaps> tensor_maps_;
  std::mutex mutex_;
  std::vector<SanaMemory*> unzeroed_, freed_;
};

namespace sana::cuda {

inline constexpr int kLeastCapability = 80;  // bf16 tensor cores and asynchronous copies: Ampere

inline constexpr int kLeastF8Capability = 89;  // matrix instructions of e4m3: Ada

// Matrix products by kernels/matrix_hopper.cuh, on devices of compute capability 9.0 only.
inline constexpr const char* kHopperPath = "sm_90a-wgmma";

// Fills in all but workspace_bytes. A device that cannot be used says why in `problem`.
void describe(int index, SanaDeviceInfo*);

int count_devices();  // throws ERR_SANA_DEVICE telling what is wrong with the driver

}  // namespace sana::cuda
