// What a CUDA operator sees: its arguments, the stream to queue its kernels on, and what the device has.

#pragma once

#include <cuda_runtime_api.h>

#include "core/arguments.h"
#include "core/error.h"
#include "core/generated/operators.h"

namespace sana::cuda {

class TensorMaps;

// A stream of one device, and what kernels are chosen by.
struct Stream {
  cudaStream_t handle;
  int multiprocessors;
  int shared_bytes;               // the most that one block may have
  char* workspace;                // scratch memory of one operator at a time, 256-byte aligned, its contents undefined
  size_t workspace_bytes;         // kWorkspaceBytes
  const char* variant;            // "" or the variant that matrix products are to take, see kernels/tiles.h
  const TensorMaps* tensor_maps;  // where matrix products take the path of sm_90a; else null
};

// Held by every open device: room for split sums and partial states.
inline constexpr size_t kWorkspaceBytes = size_t(64) << 20;

// A call as kernels see it: `offsets`, in device memory, holds where each of the list's parts starts and, last, the
// sum: list_length + 1 numbers.
struct Call : Arguments {
  const int32_t* offsets;
};

// Checks what it needs, chooses a variant, launches. Never waits, allocates or copies: it may be captured in a graph.
using Kernel = void (*)(const Call&, const Stream&);

constexpr int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Blocks of a launch along x, the one dimension of a grid that takes more than 65535.
inline unsigned grid_size(int64_t blocks) {
  if (blocks > INT32_MAX) {
    throw Error("ERR_SANA_PROGRAM", "an operator of %lld blocks is too large", static_cast<long long>(blocks));
  }
  return static_cast<unsigned>(blocks);
}

}  // namespace sana::cuda
