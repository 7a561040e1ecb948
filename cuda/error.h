// CUDA errors as exceptions. What a failed call left behind is cleared, so that the next one starts clean; an error
// that the driver does not let go of (a fault inside a kernel) comes back at every call and marks the device as lost.

#pragma once

#include <cuda_runtime_api.h>

#include "core/error.h"

namespace sana::cuda {

// Throws ERR_SANA_MEMORY when memory ran out, ERR_SANA_DEVICE else, naming `what` failed.
inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw Error(status == cudaErrorMemoryAllocation ? "ERR_SANA_MEMORY" : "ERR_SANA_DEVICE", "%s: %s (%s)", what,
              cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace sana::cuda

#define SANA_CUDA(call) ::sana::cuda::check(call, #call)
