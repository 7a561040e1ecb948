// The functions of cudart that cuda/ uses.

#include "test/simt/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/simt/checker.h"
#include "test/simt/faults.h"
#include "test/simt/scheduler.h"
#include "test/simt/trace.h"

using simt::setting;
using simt::should_fail;
using Work = std::function<void()>;

struct CUgraph_st {
  std::vector<Work> nodes;
};
struct CUgraphExec_st {
  std::vector<Work> nodes;
};
struct CUstream_st {
  int device = 0;
  std::deque<Work> queue;
  CUgraph_st* capture = nullptr;
};
struct CUevent_st {
  CUstream_st* stream = nullptr;
  bool pending = false;
  double milliseconds = 0;
};

namespace {

constexpr int kDevices = 3;
constexpr simt::Order kOrders[kDevices] = {simt::Order::kForward, simt::Order::kReverse, simt::Order::kRandom};
constexpr const char* kOrderNames[kDevices] = {"forward", "reverse", "random"};
constexpr size_t kMemoryBytes = size_t(4) << 30;  // per device
constexpr int kSharedBytes = 99 * 1024;           // per block, as on the smallest supported devices
constexpr int kHopperSharedBytes = 227 * 1024;    // per block, with compute capability 9.0
constexpr int kMultiprocessors = 4;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGuardBytes = 0;  // the sanitizer adds its own guards
#else
constexpr size_t kGuardBytes = 4096;  // on both sides of an allocation
#endif

struct Device {
  cudaError_t fault = cudaSuccess;  // sticky until the device is reset
  std::string fault_text;
  size_t used_bytes = 0;
};

struct Allocation {
  size_t bytes;
  int device;
};

std::recursive_mutex mutex;
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
Device devices[kDevices];
std::map<uintptr_t, Allocation> allocations;
std::map<uintptr_t, size_t> pinned;
std::vector<CUstream_st*> streams;
std::string last_fault_text;

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t fail(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// Every call on a device with a fault returns the fault; this is the one of the current device.
cudaError_t fault() {
  return fail(devices[current_device].fault);
}

int device_count() {
  return static_cast<int>(std::min<size_t>(setting("SIMT_DEVICES", kDevices), kDevices));
}

int capability() {
  return static_cast<int>(setting("SIMT_CAPABILITY", 89));
}

int shared_bytes_of_a_block() {
  return capability() == 90 ? kHopperSharedBytes : kSharedBytes;
}

size_t memory_bytes() {
  return setting("SIMT_MEMORY_BYTES", kMemoryBytes);
}

bool is_stream(CUstream_st* stream) {  // streams of a device that was reset are invalid
  return std::find(streams.begin(), streams.end(), stream) != streams.end();
}

void run_next(CUstream_st* stream) {
  const Work work = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (devices[stream->device].fault == cudaSuccess) work();
}

void drain(CUstream_st* stream) {
  while (!stream->queue.empty()) run_next(stream);
}

void drain_device(int device) {
  for (CUstream_st* stream : streams) {
    if (stream->device == device) drain(stream);
  }
}

cudaError_t enqueue(CUstream_st* stream, Work work) {
  const Lock lock(mutex);
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle);
  if (devices[stream->device].fault != cudaSuccess) return fail(devices[stream->device].fault);
  if (stream->capture) {
    stream->capture->nodes.push_back(std::move(work));
  } else {
    stream->queue.push_back(std::move(work));
  }
  return cudaSuccess;
}

void set_fault(int device, cudaError_t error, const std::string& text) {
  devices[device].fault = error;
  devices[device].fault_text = last_fault_text = text;
}

void run_kernel(int device, const simt::Grid& launch, const Work& body) {
  if (should_fail("kernel")) {
    set_fault(device, cudaErrorIllegalAddress, "an illegal memory access was encountered");
    return;
  }
  try {
    simt::run_grid(launch, kOrders[device], body);
  } catch (const std::exception& error) {
    set_fault(device, cudaErrorLaunchFailure, error.what());
    if (setting("SIMT_QUIET").empty()) std::fprintf(stderr, "simt: %s\n", error.what());
  }
}

bool in_device_memory(const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  const auto& [begin, allocation] = *std::prev(next);
  return bytes <= allocation.bytes && address - begin <= allocation.bytes - bytes;
}

void release(uintptr_t address) {
  simt::checker::freed(reinterpret_cast<void*>(address));
  std::free(reinterpret_cast<char*>(address) - kGuardBytes);
}

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool is_pinned(const void* pointer) {
  auto found = pinned.upper_bound(reinterpret_cast<uintptr_t>(pointer));
  if (found == pinned.begin()) return false;
  --found;
  return reinterpret_cast<uintptr_t>(pointer) < found->first + found->second;
}

}  // namespace

namespace simt {

cudaError_t queue_launch(cudaStream_t stream, const Grid& launch, Work body) {
  const auto& [grid, block, shared_bytes, kernel] = launch;
  const size_t threads = size_t(block.x) * block.y * block.z;
  const bool legal = threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 && grid.x <= 0x7fffffff &&
                     grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535;
  if (!legal) return fail(cudaErrorInvalidConfiguration);
  if (shared_bytes > static_cast<size_t>(shared_bytes_of_a_block())) return fail(cudaErrorInvalidValue);
  if (should_fail("launch")) return fail(cudaErrorLaunchOutOfResources);
  const Lock lock(mutex);
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle);
  trace(launch);
  return enqueue(stream,
                 [device = stream->device, launch, body = std::move(body)] { run_kernel(device, launch, body); });
}

}  // namespace simt

extern "C" {

// ---- devices and errors

cudaError_t cudaGetDeviceCount(int* count) {
  if (!setting("SIMT_DRIVER").empty()) return fail(cudaErrorInsufficientDriver);
  *count = device_count();
  return *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaDriverGetVersion(int* version) {
  const std::string driver = setting("SIMT_DRIVER");
  *version = driver == "none" ? 0 : driver == "old" ? 11040 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return fail(cudaErrorInvalidDevice);
  const Lock lock(mutex);
  current_device = device;
  return fault();
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= device_count()) return fail(cudaErrorInvalidDevice);
  std::memset(static_cast<void*>(properties), 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "SIMT emulation, threads in %s order", kOrderNames[device]);
  properties->major = capability() / 10;
  properties->minor = capability() % 10;
  properties->multiProcessorCount = kMultiprocessors;
  properties->totalGlobalMem = memory_bytes();
  properties->sharedMemPerBlockOptin = static_cast<size_t>(shared_bytes_of_a_block());
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = shared_bytes_of_a_block();
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = capability() / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = capability() % 10;
      return cudaSuccess;
    default:
      return fail(cudaErrorInvalidValue);
  }
}

// A reset destroys the device's memory and streams.
cudaError_t cudaDeviceReset() {
  const Lock lock(mutex);
  std::erase_if(streams, [](CUstream_st* stream) {
    if (stream->device != current_device) return false;
    delete stream->capture;
    delete stream;
    return true;
  });
  std::erase_if(allocations, [](const auto& entry) {
    if (entry.second.device != current_device) return false;
    release(entry.first);
    return true;
  });
  devices[current_device] = {};
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = devices[current_device].fault;
  return error;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorLaunchOutOfResources:
      return "too many resources requested for launch";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalAddress:
      return last_fault_text.c_str();
    default:
      return "emulated error";
  }
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchOutOfResources:
      return "cudaErrorLaunchOutOfResources";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    default:
      return "cudaError";
  }
}

// ---- memory

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const Lock lock(mutex);
  *pointer = nullptr;
  if (fault() != cudaSuccess) return fault();
  size_t& used = devices[current_device].used_bytes;
  if (should_fail("cudaMalloc") || used > memory_bytes() || bytes > memory_bytes() - used) {
    return fail(cudaErrorMemoryAllocation);
  }
  void* memory = nullptr;  // of exactly this size, for the address sanitizer
  if (posix_memalign(&memory, std::max<size_t>(256, kGuardBytes), bytes + 2 * kGuardBytes) != 0) {
    return fail(cudaErrorMemoryAllocation);
  }
  *pointer = static_cast<char*>(memory) + kGuardBytes;
  std::memset(*pointer, 0xff, bytes);  // NaNs
  allocations[reinterpret_cast<uintptr_t>(*pointer)] = {bytes, current_device};
  simt::checker::allocated(*pointer, bytes);
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const Lock lock(mutex);
  if (fault() != cudaSuccess) return fault();
  if (!pointer) return cudaSuccess;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const auto found = allocations.find(address);
  if (found == allocations.end()) return fail(cudaErrorInvalidValue);
  drain_device(found->second.device);
  devices[found->second.device].used_bytes -= found->second.bytes;
  allocations.erase(found);
  release(address);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(mutex);
  const size_t used = devices[current_device].used_bytes;
  *total = memory_bytes();
  *free = *total - std::min(used, *total);
  return fault();
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  const Lock lock(mutex);
  *pointer = nullptr;
  if (fault() != cudaSuccess) return fault();
  if (should_fail("cudaMallocHost")) return fail(cudaErrorMemoryAllocation);
  *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*pointer) return fail(cudaErrorMemoryAllocation);
  pinned[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
  const Lock lock(mutex);
  for (int device = 0; device < kDevices; ++device) drain_device(device);
  pinned.erase(reinterpret_cast<uintptr_t>(pointer));
  std::free(pointer);
  return fault();
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(mutex);
  const bool from_device = kind != cudaMemcpyHostToDevice, to_device = kind != cudaMemcpyDeviceToHost;
  if ((from_device && !in_device_memory(from, bytes)) || (to_device && !in_device_memory(to, bytes))) {
    return fail(cudaErrorInvalidValue);
  }
  const auto copy = [=](const void* source) {
    std::memcpy(to, source, bytes);
    if (to_device) simt::checker::filled(to, bytes);
  };
  if (!from_device && !is_pinned(from)) {  // pageable memory is read before the call returns
    const auto kept =
        std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    return enqueue(stream, [=] { copy(kept->data()); });
  }
  const cudaError_t status = enqueue(stream, [=] { copy(from); });
  if (status != cudaSuccess || to_device || is_pinned(to)) return status;
  drain(stream);  // the memory is written before the call returns
  return fail(devices[stream->device].fault);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(mutex);
  if (!in_device_memory(to, bytes)) return fail(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    std::memset(to, value, bytes);
    simt::checker::filled(to, bytes);
  });
}

// ---- streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(mutex);
  if (fault() != cudaSuccess) return fault();
  *stream = new CUstream_st;
  (*stream)->device = current_device;
  streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(mutex);
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle);
  drain(stream);
  std::erase(streams, stream);
  delete stream;
  return fault();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex);
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle);
  drain(stream);
  return fail(devices[stream->device].fault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const Lock lock(mutex);
  if (fault() != cudaSuccess) return fault();
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(mutex);
  if (event->pending && is_stream(event->stream)) drain(event->stream);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(mutex);
  const cudaError_t status = enqueue(stream, [=] {
    event->milliseconds = now();
    event->pending = false;
  });
  if (status != cudaSuccess) return status;
  event->stream = stream;
  event->pending = true;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(mutex);
  if (!event->stream) return cudaSuccess;
  if (!is_stream(event->stream)) return fail(cudaErrorInvalidResourceHandle);
  while (event->pending && !event->stream->queue.empty()) run_next(event->stream);
  return fail(devices[event->stream->device].fault);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (start->pending || end->pending) return fail(cudaErrorNotReady);
  *milliseconds = static_cast<float>(end->milliseconds - start->milliseconds);
  return cudaSuccess;
}

// ---- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(mutex);
  if (!is_stream(stream)) return fail(cudaErrorInvalidResourceHandle);
  if (devices[stream->device].fault != cudaSuccess) return fail(devices[stream->device].fault);
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(mutex);
  *graph = stream->capture;
  stream->capture = nullptr;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* recorded, cudaGraph_t graph, unsigned long long) {
  if (should_fail("cudaGraphInstantiate")) return fail(cudaErrorMemoryAllocation);
  *recorded = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t recorded, cudaStream_t stream) {
  for (const Work& node : recorded->nodes) {
    if (const cudaError_t status = enqueue(stream, node); status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t recorded) {
  delete recorded;
  return cudaSuccess;
}

}  // extern "C"
