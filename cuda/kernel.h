// The interface of a CUDA operator: its arguments, the stream to queue its kernels on, and the properties of the
// device.

#pragma once

#include <cuda_runtime_api.h>

#include "core/arguments.h"
#include "core/error.h"
#include "core/generated/operators.h"

namespace sana::cuda {

class TensorMaps;

// A stream of one device, and the properties by which kernels are chosen.
struct Stream {
  cudaStream_t handle;
  int multiprocessors;
  int shared_bytes;               // the maximum per block
  char* workspace;                // scratch memory for one operator at a time, 256-byte aligned, contents undefined
  size_t workspace_bytes;         // kWorkspaceBytes
  const char* variant;            // "" or the variant to force for matrix products, see kernels/tiles.h
  const TensorMaps* tensor_maps;  // null unless matrix products use the sm_90a path
};

// Every open device has a workspace of this size, for split sums and partial states.
inline constexpr size_t kWorkspaceBytes = size_t(64) << 20;

// A call with `offsets`, in device memory: the start of each of the list's parts and, last, their sum; list_length + 1
// numbers.
struct Call : Arguments {
  const int32_t* offsets;
};

// Checks its arguments, chooses a variant and launches it. Never waits, allocates or copies, because it may be captured
// in a graph.
using Kernel = void (*)(const Call&, const Stream&);

constexpr int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// The number of blocks along x, the only dimension of a grid that may exceed 65535.
inline unsigned grid_size(int64_t blocks) {
  if (blocks > INT32_MAX) {
    throw Error("ERR_SANA_PROGRAM", "an operator of %lld blocks is too large", static_cast<long long>(blocks));
  }
  return static_cast<unsigned>(blocks);
}

}  // namespace sana::cuda
