#include "cuda/program.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "cuda/error.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr size_t kGroup = 64;  // operators: a few milliseconds of the largest models, 0.2 ms of the smallest
constexpr int kRunsBeforeRecording = 2;

// CUDA events that live as long as a run.
template <unsigned flags>
class Events {
 public:
  explicit Events(size_t count) : events_(count) {
    for (cudaEvent_t& event : events_) SANA_CUDA(cudaEventCreateWithFlags(&event, flags));
  }
  ~Events() {
    for (cudaEvent_t event : events_) {
      if (event) cudaEventDestroy(event);
    }
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  cudaEvent_t operator[](size_t i) const { return events_[i]; }

 private:
  std::vector<cudaEvent_t> events_;
};

}  // namespace
}  // namespace sana::cuda

using sana::Error;
using sana::cuda::check;
using sana::cuda::kGroup;

SanaProgram::SanaProgram(SanaDevice& device, const SanaCall* calls, uint32_t count, SanaMemory* const* buffers)
    : device_(device), steps_(calls, count, [&](uint32_t buffer) { return buffers[buffer]->data; }) {
  for (const auto& step : steps_) {
    if (!step.call.list_length) continue;
    int64_t offset = 0;
    for (int64_t i = 0; i < step.call.list_length; ++i) {
      offsets_.push_back(static_cast<int32_t>(offset));
      offset += step.call.list[i];
    }
    offsets_.push_back(static_cast<int32_t>(offset));
  }
}

SanaProgram::~SanaProgram() {
  drop_graphs();
  if (device_offsets_) device_.free(device_offsets_);
}

void SanaProgram::drop_graphs() {
  for (cudaGraphExec_t graph : graphs_) cudaGraphExecDestroy(graph);
  graphs_.clear();
  runs_ = 0;
}

void SanaProgram::place(char* arena) {
  if (placed_ && arena == arena_) return;
  if (!placed_ && !offsets_.empty()) {
    const size_t bytes = offsets_.size() * sizeof offsets_[0];
    device_offsets_ = device_.allocate(bytes);
    device_.enter();  // zeroes it
    SANA_CUDA(
        cudaMemcpyAsync(device_offsets_->data, offsets_.data(), bytes, cudaMemcpyHostToDevice, device_.stream.handle));
  }
  drop_graphs();
  const int32_t* offsets = device_offsets_ ? reinterpret_cast<const int32_t*>(device_offsets_->data) : nullptr;
  for (auto& step : steps_) {
    step.call.offsets = offsets;
    if (step.call.list_length) offsets += step.call.list_length + 1;
    step.place(arena);
  }
  arena_ = arena;
  placed_ = true;
}

void SanaProgram::queue(size_t i) {
  queued_ = i + 1;
  try {
    sana::cuda::kKernels[steps_[i].op](steps_[i].call, device_.stream);
  } catch (const Error& error) {
    throw error.in_call(static_cast<int64_t>(i));
  }
}

void SanaProgram::record() {
  for (size_t first = 0; first < steps_.size(); first += kGroup) {
    SANA_CUDA(cudaStreamBeginCapture(device_.stream.handle, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      for (size_t i = first; i < std::min(first + kGroup, steps_.size()); ++i) queue(i);
    } catch (...) {
      cudaStreamEndCapture(device_.stream.handle, &graph);
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    SANA_CUDA(cudaStreamEndCapture(device_.stream.handle, &graph));
    cudaGraphExec_t recorded = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&recorded, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cannot make a graph of the program");
    graphs_.push_back(recorded);
  }
}

void SanaProgram::run_profiled(double* milliseconds) {
  const sana::cuda::Events<cudaEventDefault> marks(steps_.size() + 1);
  SANA_CUDA(cudaEventRecord(marks[0], device_.stream.handle));
  for (size_t i = 0; i < steps_.size(); ++i) {
    queue(i);
    SANA_CUDA(cudaEventRecord(marks[i + 1], device_.stream.handle));
  }
  device_.wait();
  for (size_t i = 0; i < steps_.size(); ++i) {
    float elapsed = 0;
    SANA_CUDA(cudaEventElapsedTime(&elapsed, marks[i], marks[i + 1]));
    milliseconds[i] = elapsed;
  }
}

void SanaProgram::run_groups(const volatile int32_t* cancel) {
  const auto cancelled = [&] { return __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0; };
  const sana::cuda::Events<cudaEventDisableTiming | cudaEventBlockingSync> done(2);
  size_t group = 0;
  for (size_t first = 0; first < steps_.size() && !cancelled(); first += kGroup, ++group) {
    const size_t end = std::min(first + kGroup, steps_.size());
    if (graphs_.empty()) {
      for (size_t i = first; i < end; ++i) queue(i);
    } else {
      queued_ = end;
      SANA_CUDA(cudaGraphLaunch(graphs_[group], device_.stream.handle));
    }
    SANA_CUDA(cudaEventRecord(done[group % 2], device_.stream.handle));
    if (group > 0) SANA_CUDA(cudaEventSynchronize(done[(group - 1) % 2]));
    done_ = first;
  }
  if (group > 0) SANA_CUDA(cudaEventSynchronize(done[(group - 1) % 2]));  // sleeps, while wait() below would spin
  device_.wait();
  if (queued_ < steps_.size()) throw Error("ERR_SANA_CANCELLED", "the run was cancelled");
}

template <class Body>
void SanaProgram::attributing(const Body& body) {
  done_ = queued_ = 0;
  try {
    body();
  } catch (...) {
    // Wait, because the queued work uses memory that its owner may free next. Waiting also finds a fault of the device:
    // the call that reported it, such as a later launch, is not the one that failed.
    try {
      device_.wait();
    } catch (const Error& fault) {
      throw fault.in_calls(static_cast<int64_t>(done_), static_cast<int64_t>(queued_) - 1);
    }
    throw;
  }
}

void SanaProgram::run(SanaMemory* arena, const volatile int32_t* cancel, double* milliseconds) {
  if (__atomic_load_n(cancel, __ATOMIC_RELAXED) != 0) throw Error("ERR_SANA_CANCELLED", "the run was cancelled");
  place(arena ? arena->data : nullptr);
  if (milliseconds) return attributing([&] { run_profiled(milliseconds); });
  if (graphs_.empty() && runs_ >= sana::cuda::kRunsBeforeRecording) {
    try {
      record();
    } catch (...) {
      drop_graphs();
      throw;
    }
  }
  attributing([&] { run_groups(cancel); });
  ++runs_;
}
