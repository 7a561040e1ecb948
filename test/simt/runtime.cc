// cudart's functions, as far as cuda/ uses them.

#include "test/simt/runtime.h"

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

#include "test/simt/scheduler.h"

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
constexpr size_t kMemoryBytes = size_t(4) << 30;  // of each device
constexpr int kSharedBytes = 99 * 1024;           // what the smallest supported devices give a block
constexpr int kMultiprocessors = 4;

struct Allocation {
  size_t bytes;
  int device;
};

std::recursive_mutex mutex;
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
std::map<uintptr_t, Allocation> allocations;
std::map<uintptr_t, size_t> pinned;
std::vector<CUstream_st*> streams;
cudaError_t fault[kDevices] = {};  // sticks until the device is reset
std::string fault_text;
size_t used_bytes[kDevices] = {};

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t fail(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

void drain(CUstream_st* stream) {
  while (!stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (fault[stream->device] == cudaSuccess) work();
  }
}

void drain_device(int device) {
  for (CUstream_st* stream : streams) {
    if (stream->device == device) drain(stream);
  }
}

cudaError_t enqueue(CUstream_st* stream, Work work) {
  const Lock lock(mutex);
  if (fault[stream->device] != cudaSuccess) return fail(fault[stream->device]);
  if (stream->capture) {
    stream->capture->nodes.push_back(std::move(work));
  } else {
    stream->queue.push_back(std::move(work));
  }
  return cudaSuccess;
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

cudaError_t queue_launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, Work body) {
  const size_t threads = size_t(block.x) * block.y * block.z;
  const bool legal = threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 && grid.x <= 0x7fffffff &&
                     grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535;
  if (!legal) return fail(cudaErrorInvalidConfiguration);
  if (shared_bytes > kSharedBytes) return fail(cudaErrorInvalidValue);
  const int device = stream->device;
  return enqueue(stream, [=] {
    try {
      run_grid(grid, block, shared_bytes, kOrders[device], body);
    } catch (const std::exception& error) {
      fault[device] = cudaErrorLaunchFailure;
      fault_text = error.what();
    }
  });
}

}  // namespace simt

extern "C" {

// ---- devices and errors

cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return fail(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= kDevices) return fail(cudaErrorInvalidDevice);
  std::memset(static_cast<void*>(properties), 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "SIMT emulation, threads in %s order", kOrderNames[device]);
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = kMultiprocessors;
  properties->totalGlobalMem = kMemoryBytes;
  properties->sharedMemPerBlockOptin = kSharedBytes;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute != cudaDevAttrMaxSharedMemoryPerBlockOptin) return fail(cudaErrorInvalidValue);
  *value = kSharedBytes;
  return cudaSuccess;
}

cudaError_t cudaDeviceReset() {
  const Lock lock(mutex);
  fault[current_device] = cudaSuccess;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
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
    case cudaErrorLaunchFailure:
      return fault_text.c_str();
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
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    default:
      return "cudaError";
  }
}

// ---- memory

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const Lock lock(mutex);
  if (fault[current_device] != cudaSuccess) return fail(fault[current_device]);
  *pointer = nullptr;
  if (bytes > kMemoryBytes - used_bytes[current_device]) return fail(cudaErrorMemoryAllocation);
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!memory) return fail(cudaErrorMemoryAllocation);
  std::memset(memory, 0xff, bytes);  // NaNs
  allocations[reinterpret_cast<uintptr_t>(memory)] = {bytes, current_device};
  used_bytes[current_device] += bytes;
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const Lock lock(mutex);
  if (!pointer) return cudaSuccess;
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == allocations.end()) return fail(cudaErrorInvalidValue);
  drain_device(found->second.device);
  used_bytes[found->second.device] -= found->second.bytes;
  allocations.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(mutex);
  *total = kMemoryBytes;
  *free = kMemoryBytes - used_bytes[current_device];
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  const Lock lock(mutex);
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
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(mutex);
  const bool host_target = kind == cudaMemcpyDeviceToHost;
  if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) {  // read before the call returns
    const auto copy =
        std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    return enqueue(stream, [=] { std::memcpy(to, copy->data(), bytes); });
  }
  const cudaError_t status = enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  if (status == cudaSuccess && host_target && !is_pinned(to)) drain(stream);  // written before the call returns
  return status;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [=] { std::memset(to, value, bytes); });
}

// ---- streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(mutex);
  *stream = new CUstream_st;
  (*stream)->device = current_device;
  streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(mutex);
  drain(stream);
  std::erase(streams, stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex);
  drain(stream);
  return fail(fault[stream->device]);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(mutex);
  if (event->pending) drain(event->stream);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(mutex);
  event->stream = stream;
  event->pending = true;
  return enqueue(stream, [=] {
    event->milliseconds = now();
    event->pending = false;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(mutex);
  while (event->pending && !event->stream->queue.empty()) {
    const Work work = std::move(event->stream->queue.front());
    event->stream->queue.pop_front();
    if (fault[event->stream->device] == cudaSuccess) work();
  }
  return event->stream ? fail(fault[event->stream->device]) : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (start->pending || end->pending) return fail(cudaErrorNotReady);
  *milliseconds = static_cast<float>(end->milliseconds - start->milliseconds);
  return cudaSuccess;
}

// ---- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(mutex);
  if (fault[stream->device] != cudaSuccess) return fail(fault[stream->device]);
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
