// The CUDA backend's table, the only symbol that its library exports.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "core/attempt.h"
#include "core/support.h"
#include "cuda/ceilings.h"
#include "cuda/device.h"
#include "cuda/error.h"
#include "cuda/pack.h"
#include "cuda/program.h"

namespace sana::cuda {
namespace {

// In kernels that read one dtype and write another, one of the two is f32. Matrix products and softmax attention are
// exceptions: they write any dtype.
void check_types(const SanaCall& call) {
  const OperatorSpec& spec = kOperators[call.op];
  for (const char* any : {"linear", "conv2d", "upsampleConv2d", "crossAttention", "causalAttention"}) {
    if (std::strcmp(spec.name, any) == 0) return;
  }
  const auto used = [&](SanaDType dtype) {
    return std::any_of(std::begin(call.operands), std::end(call.operands),
                       [&](const SanaTensor& operand) { return operand.rank && operand.dtype == dtype; });
  };
  if (used(kSanaBF16) && used(kSanaF16)) {
    throw Error("ERR_SANA_PROGRAM", "no kernel from bf16 to f16 or back: convert to f32 between them");
  }
}

int device_count(uint32_t* count, SanaFailure* failure) {
  return attempt(failure, [&] { *count = static_cast<uint32_t>(count_devices()); });
}

// The options are not used: a path that is requested by name takes effect when the device is opened.
int device_info(uint32_t index, const SanaDeviceOptions*, SanaDeviceInfo* info, SanaFailure* failure) {
  return attempt(failure, [&] {
    describe(static_cast<int>(index), info);
    info->workspace_bytes = kWorkspaceBytes;
  });
}

int device_open(uint32_t index, const SanaDeviceOptions* options, SanaDevice** device, SanaFailure* failure) {
  return attempt(failure, [&] { *device = new SanaDevice(static_cast<int>(index), options->path); });
}

int device_describe(SanaDevice* device, SanaDeviceInfo* info, SanaFailure* failure) {
  return attempt(failure, [&] {
    describe(device->index, info);
    info->free_bytes += device->freed_bytes();
    info->workspace_bytes = kWorkspaceBytes;
    if (device->stream.tensor_maps) std::snprintf(info->path, sizeof info->path, "%s", kHopperPath);
  });
}

int device_ceilings(SanaDevice* device, SanaCeilings* ceilings, SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    *ceilings = measure_ceilings(*device);
  });
}

void device_close(SanaDevice* device) {
  delete device;
}

int memory_allocate(SanaDevice* device, uint64_t bytes, SanaMemory** memory, SanaFailure* failure) {
  return attempt(failure, [&] { *memory = device->allocate(bytes); });
}

void memory_free(SanaDevice* device, SanaMemory* memory) {
  device->free(memory);
}

int memory_write(SanaDevice* device, SanaMemory* memory, uint64_t offset, const void* source, uint64_t bytes,
                 SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    for (uint64_t at = 0; at < bytes; at += Staging::kBlockBytes) {
      const uint64_t count = std::min<uint64_t>(Staging::kBlockBytes, bytes - at);
      const Staging::Block block = device->staging.take();
      memcpy(block.host, static_cast<const char*>(source) + at, count);
      SANA_CUDA(cudaMemcpyAsync(memory->data + offset + at, block.host, count, cudaMemcpyHostToDevice,
                                device->stream.handle));
      device->staging.give_back(block, device->stream.handle);
    }
  });
}

int memory_read(SanaDevice* device, SanaMemory* memory, uint64_t offset, void* target, uint64_t bytes,
                SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    if (bytes) {
      SANA_CUDA(cudaMemcpyAsync(target, memory->data + offset, bytes, cudaMemcpyDeviceToHost, device->stream.handle));
    }
    device->wait();
  });
}

int tensor_bytes(SanaDevice* device, uint32_t dtype, uint32_t layout, uint32_t, const int64_t* shape, uint64_t* bytes,
                 SanaFailure* failure) {
  return attempt(failure, [&] {
    check_dtype(device->refusals, dtype);
    *bytes = cuda::tensor_bytes(static_cast<DType>(dtype), layout, shape);
  });
}

int pack(SanaDevice* device, SanaMemory* memory, const SanaTensor* target, int64_t first_row, int64_t rows,
         const void* source, uint32_t source_dtype, uint64_t* non_finite, SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    *non_finite += pack_rows(*device, view(*target, memory->data + target->offset), first_row, rows, source,
                             static_cast<DType>(source_dtype));
  });
}

int supports(SanaDevice* device, const SanaCall* call, SanaFailure* failure) {
  return attempt(failure, [&] {
    check_dtypes(device->refusals, *call);
    check_types(*call);
  });
}

int program_create(SanaDevice* device, const SanaCall* calls, uint32_t call_count, SanaMemory* const* buffers, uint32_t,
                   SanaProgram** program, SanaFailure* failure) {
  return attempt(failure, [&] { *program = new SanaProgram(*device, calls, call_count, buffers); });
}

int program_run(SanaDevice* device, SanaProgram* program, SanaMemory* arena, const volatile int32_t* cancel,
                double* milliseconds, SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    program->run(arena, cancel, milliseconds);
  });
}

void program_destroy(SanaDevice* device, SanaProgram* program) {
  cudaSetDevice(device->index);
  delete program;
}

constexpr SanaBackend kBackend = {
    kSanaBackendVersion, "cuda",          CUDART_VERSION, device_count,    device_info,    device_open,
    device_describe,     device_ceilings, device_close,   memory_allocate, memory_free,    memory_write,
    memory_read,         tensor_bytes,    pack,           supports,        program_create, program_run,
    program_destroy,
};

}  // namespace
}  // namespace sana::cuda

extern "C" __attribute__((visibility("default"))) const SanaBackend* sana_backend() {
  return &sana::cuda::kBackend;
}
