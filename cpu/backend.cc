// The CPU backend: memory mapped from the system, a thread team, and programs as flat lists of kernels with resolved
// addresses.

#include "cpu/backend.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <memory>
#include <string>

#include "core/attempt.h"
#include "core/error.h"
#include "core/generated/operators.h"
#include "core/program_steps.h"
#include "core/support.h"
#include "cpu/ceilings.h"
#include "cpu/pack.h"
#include "cpu/paths.h"
#include "cpu/thread_team.h"
#include "platform/host.h"
#include "platform/pages.h"
#include "platform/threads.h"

struct SanaDevice {
  SanaDevice(const sana::cpu::Path& chosen, int threads)
      : path(chosen), team(threads), total_bytes(sana::platform::host_memory().total_bytes) {}

  // The executor's thread is worker 0. It is not known before its first call.
  void enter() {
    if (!entered) sana::platform::lower_thread_priority();
    entered = true;
  }

  const sana::cpu::Path& path;
  sana::cpu::ThreadTeam team;
  const uint64_t total_bytes;
  std::atomic<uint64_t> allocated_bytes{0};
  bool entered = false;
};

struct SanaMemory {
  char* data;
  uint64_t bytes;
};

struct SanaProgram {
  sana::ProgramSteps<sana::Arguments> steps;
};

namespace sana::cpu {
namespace {

constexpr uint64_t kCheckFreeFrom = 16 << 20;  // checking takes longer than a smaller allocation

// By dtype; the same on every path.
constexpr SanaRefusal kRefusals[kSanaDTypeCount] = {
    {},
    {},
    {"ERR_SANA_PROGRAM", "f16 is unsupported on the CPU; use f32 or bf16"},
    {},
    {},
    {},
    {"ERR_SANA_DEVICE", "fp8 needs a GPU of compute capability 8.9 or later; use 'int8'"},
};
static_assert(kSanaF16 == 2 && kSanaF8 == 6);

void check_index(uint32_t index) {
  if (index != 0) throw Error("ERR_SANA_DEVICE", "there is one CPU device, index 0; got index %u", index);
}

void describe(const Path& path, uint32_t threads, SanaDeviceInfo* info) {
  const platform::HostMemory memory = platform::host_memory();
  *info = {};
  platform::processor_name(info->name, sizeof info->name);
  snprintf(info->path, sizeof info->path, "%s", path.name);
  info->total_bytes = memory.total_bytes;
  info->free_bytes = memory.free_bytes;
  info->units = threads;
  info->workspace_bytes = uint64_t(threads) * Workers::kWorkspaceBytes;
  info->default_dtype = path.fast_bf16 ? kSanaBF16 : kSanaF32;
  info->host_memory = 1;
  std::copy(std::begin(kRefusals), std::end(kRefusals), info->refusals);
}

int device_count(uint32_t* count, SanaFailure*) {
  *count = 1;
  return 0;
}

uint32_t thread_count(const SanaDeviceOptions& options) {
  return options.threads ? options.threads : platform::usable_processors();
}

int device_info(uint32_t index, const SanaDeviceOptions* options, SanaDeviceInfo* info, SanaFailure* failure) {
  return attempt(failure, [&] {
    check_index(index);
    describe(choose_path(options->path), thread_count(*options), info);
  });
}

int device_open(uint32_t index, const SanaDeviceOptions* options, SanaDevice** device, SanaFailure* failure) {
  return attempt(failure, [&] {
    check_index(index);
    *device = new SanaDevice(choose_path(options->path), static_cast<int>(thread_count(*options)));
  });
}

int device_describe(SanaDevice* device, SanaDeviceInfo* info, SanaFailure* failure) {
  return attempt(failure, [&] { describe(device->path, device->team.count(), info); });
}

int device_ceilings(SanaDevice* device, SanaCeilings* ceilings, SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    *ceilings = measure_ceilings(device->path, device->team);
  });
}

void device_close(SanaDevice* device) {
  delete device;
}

int memory_allocate(SanaDevice* device, uint64_t bytes, SanaMemory** memory, SanaFailure* failure) {
  return attempt(failure, [&] {
    const auto refuse = [&](uint64_t free, const char* reason) {
      throw Error("ERR_SANA_MEMORY", "%llu bytes required, %llu bytes free on the CPU: %s",
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(free), reason);
    };
    // Pages are allocated when first touched, and the system then reports a lack of memory by killing the process:
    // check first.
    const uint64_t allocated = device->allocated_bytes.load();
    if (bytes > device->total_bytes || allocated > device->total_bytes - bytes) {
      refuse(device->total_bytes - std::min(allocated, device->total_bytes), "more than this process may use");
    }
    if (bytes >= kCheckFreeFrom) {
      const uint64_t free = platform::host_memory().free_bytes;
      if (bytes > free) refuse(free, "not enough left");
    }
    auto owner = std::make_unique<SanaMemory>(SanaMemory{nullptr, bytes});
    std::string problem;
    owner->data = static_cast<char*>(platform::map_pages(bytes, problem));
    if (!owner->data) refuse(platform::host_memory().free_bytes, problem.c_str());
    device->allocated_bytes += bytes;
    *memory = owner.release();
  });
}

void memory_free(SanaDevice* device, SanaMemory* memory) {
  platform::unmap_pages(memory->data, memory->bytes);
  device->allocated_bytes -= memory->bytes;
  delete memory;
}

int memory_write(SanaDevice*, SanaMemory* memory, uint64_t offset, const void* source, uint64_t bytes, SanaFailure*) {
  if (bytes) memcpy(memory->data + offset, source, bytes);
  return 0;
}

int memory_read(SanaDevice*, SanaMemory* memory, uint64_t offset, void* target, uint64_t bytes, SanaFailure*) {
  if (bytes) memcpy(target, memory->data + offset, bytes);
  return 0;
}

int tensor_bytes(SanaDevice*, uint32_t dtype, uint32_t layout, uint32_t rank, const int64_t* shape, uint64_t* bytes,
                 SanaFailure* failure) {
  return attempt(failure, [&] {
    check_dtype(kRefusals, dtype);
    *bytes = cpu::tensor_bytes(static_cast<DType>(dtype), layout, rank, shape);
  });
}

int pack(SanaDevice* device, SanaMemory* memory, const SanaTensor* target, int64_t first_row, int64_t rows,
         const void* source, uint32_t source_dtype, uint64_t* non_finite, SanaFailure* failure) {
  return attempt(failure, [&] {
    device->enter();
    *non_finite += pack_rows(view(*target, memory->data + target->offset), first_row, rows, source,
                             static_cast<DType>(source_dtype), device->team);
  });
}

int supports(SanaDevice*, const SanaCall* call, SanaFailure* failure) {
  return attempt(failure, [&] { check_dtypes(kRefusals, *call); });
}

int program_create(SanaDevice*, const SanaCall* calls, uint32_t call_count, SanaMemory* const* buffers, uint32_t,
                   SanaProgram** program, SanaFailure* failure) {
  return attempt(failure, [&] {
    *program = new SanaProgram{{calls, call_count, [&](uint32_t buffer) { return buffers[buffer]->data; }}};
  });
}

int program_run(SanaDevice* device, SanaProgram* program, SanaMemory* arena, const volatile int32_t* cancel,
                double* milliseconds, SanaFailure* failure) {
  return attempt(failure, [&] {
    using Clock = std::chrono::steady_clock;
    device->enter();
    device->team.set_cancel(cancel);
    bool cancelled = __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0;
    for (size_t i = 0; i < program->steps.size() && !cancelled; ++i) {
      Step<Arguments>& step = program->steps[i];
      if (arena) step.place(arena->data);
      const Clock::time_point start = Clock::now();
      device->path.kernels[step.op](step.call, device->team);
      if (milliseconds) milliseconds[i] = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
      cancelled = __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0;
    }
    device->team.set_cancel(nullptr);
    if (cancelled) throw Error("ERR_SANA_CANCELLED", "the run was cancelled");
  });
}

void program_destroy(SanaDevice*, SanaProgram* program) {
  delete program;
}

}  // namespace

const SanaBackend kBackend = {
    kSanaBackendVersion,
    "cpu",
    0,
    device_count,
    device_info,
    device_open,
    device_describe,
    device_ceilings,
    device_close,
    memory_allocate,
    memory_free,
    memory_write,
    memory_read,
    tensor_bytes,
    pack,
    supports,
    program_create,
    program_run,
    program_destroy,
};

}  // namespace sana::cpu
