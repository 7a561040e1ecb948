// CUDA errors as exceptions. The error of a failed call is cleared, so that the next call is not affected. A sticky
// error (a fault in a kernel) is returned again by every call and marks the device as lost.

#pragma once

#include <cuda_runtime_api.h>

#include "core/error.h"

namespace sana::cuda {

// Throws ERR_SANA_MEMORY if memory ran out, otherwise ERR_SANA_DEVICE; `what` names the failed call.
inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw Error(status == cudaErrorMemoryAllocation ? "ERR_SANA_MEMORY" : "ERR_SANA_DEVICE", "%s: %s (%s)", what,
              cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace sana::cuda

#define SANA_CUDA(call) ::sana::cuda::check(call, #call)
