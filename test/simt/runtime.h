// The CUDA runtime that the emulated library is linked with, in place of cudart: devices, memory, streams, events,
// graphs.
//
// Streams are lazy: queued work runs when the host waits for it, so that tests find memory that is reused too early and
// results that are read too early. There are three devices, which differ in the order of their threads: 0 forward, 1
// reverse, 2 random. An error in a kernel is a sticky fault of its device until cudaDeviceReset.

#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "test/simt/scheduler.h"

namespace simt {

cudaError_t queue_launch(cudaStream_t, const Grid&, std::function<void()> body);

}  // namespace simt
