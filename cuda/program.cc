#include "cuda/program.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "cuda/error.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr size_t kGroup = 64;  // operators: some milliseconds of the largest models, a fifth of one of the smallest
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
    : device_(device) {
  uint64_t list_entries = 0;
  for (uint32_t i = 0; i < count; ++i) list_entries += calls[i].list_length;
  lists_.reserve(list_entries);  // the steps point into it
  steps_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const SanaCall& call = calls[i];
    Step step = {};
    step.op = call.op;
    for (int operand = 0; operand < kSanaMaxOperands; ++operand) {
      const SanaTensor& tensor = call.operands[operand];
      if (tensor.rank == 0) continue;
      step.in_arena[operand] = tensor.buffer == 0;
      step.arena_offset[operand] = tensor.offset;
      step.call.operands[operand] =
          sana::view(tensor, step.in_arena[operand] ? nullptr : buffers[tensor.buffer]->data + tensor.offset);
    }
    std::memcpy(step.call.attributes, call.attributes, sizeof call.attributes);
    step.call.list = lists_.data() + lists_.size();
    step.call.list_length = call.list_length;
    step.first_offset = offsets_.size();
    int64_t offset = 0;
    for (uint32_t j = 0; j < call.list_length; ++j) {
      lists_.push_back(call.list[j]);
      offsets_.push_back(static_cast<int32_t>(offset));
      offset += call.list[j];
    }
    if (call.list_length) offsets_.push_back(static_cast<int32_t>(offset));
    steps_.push_back(step);
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
  for (Step& step : steps_) {
    if (device_offsets_) {
      step.call.offsets = reinterpret_cast<const int32_t*>(device_offsets_->data) + step.first_offset;
    }
    for (int operand = 0; operand < kSanaMaxOperands; ++operand) {
      if (step.in_arena[operand]) step.call.operands[operand].data = arena + step.arena_offset[operand];
    }
  }
  arena_ = arena;
  placed_ = true;
}

void SanaProgram::queue(size_t i) const {
  const Step& step = steps_[i];
  try {
    sana::cuda::kKernels[step.op](step.call, device_.stream);
  } catch (const Error& error) {
    throw Error(error.code(), "operator %zu, %s: %s", i, sana::kOperators[step.op].name, error.what());
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

void SanaProgram::run(SanaMemory* arena, const volatile int32_t* cancel, double* milliseconds) {
  const auto cancelled = [&] { return __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0; };
  if (cancelled()) throw Error("ERR_SANA_CANCELLED", "the run was cancelled");
  place(arena ? arena->data : nullptr);
  if (milliseconds) return run_profiled(milliseconds);
  if (graphs_.empty() && runs_ >= sana::cuda::kRunsBeforeRecording) {
    try {
      record();
    } catch (...) {
      drop_graphs();
      throw;
    }
  }
  const sana::cuda::Events<cudaEventDisableTiming | cudaEventBlockingSync> done(2);
  size_t group = 0;
  try {
    for (size_t first = 0; first < steps_.size() && !cancelled(); first += kGroup, ++group) {
      if (graphs_.empty()) {
        for (size_t i = first; i < std::min(first + kGroup, steps_.size()); ++i) queue(i);
      } else {
        SANA_CUDA(cudaGraphLaunch(graphs_[group], device_.stream.handle));
      }
      SANA_CUDA(cudaEventRecord(done[group % 2], device_.stream.handle));
      if (group > 0) SANA_CUDA(cudaEventSynchronize(done[(group - 1) % 2]));
    }
    if (group > 0) SANA_CUDA(cudaEventSynchronize(done[(group - 1) % 2]));  // sleeps, where wait() below would spin
  } catch (...) {
    cudaStreamSynchronize(device_.stream.handle);  // what was queued uses memory that its owner may free next
    cudaGetLastError();
    throw;
  }
  device_.wait();
  if (group * kGroup < steps_.size()) throw Error("ERR_SANA_CANCELLED", "the run was cancelled");
  ++runs_;
}
