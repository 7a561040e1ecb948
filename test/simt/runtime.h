// The CUDA runtime that the emulated library is linked with instead of cudart: devices, memory, streams, events,
// graphs.
//
// Streams are lazy: what is queued runs when somebody waits for it, so that memory which is reused too early, or a
// result that is read too early, is seen. Three devices, which differ in the order of their threads: 0 forward, 1
// reverse, 2 random. A kernel that goes wrong is a sticky fault of its device, until cudaDeviceReset.

#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "test/simt/scheduler.h"

namespace simt {

cudaError_t queue_launch(cudaStream_t, const Grid&, std::function<void()> body);

}  // namespace simt
