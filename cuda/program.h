// A program: a flat list of operators with resolved addresses. The first two runs queue the operators one by one; later
// runs replay CUDA graphs. Many programs run only once, and recording costs more than queueing.
//
// Operators are queued, or recorded, in groups. At most two groups are in flight, so that the device never idles and a
// cancel takes effect within two groups. A fault in a kernel is reported when the host waits for the device, so all
// that is known is that one of the calls of these groups failed.

#pragma once

#include <vector>

#include "core/program_steps.h"
#include "cuda/device.h"

struct SanaProgram {
  SanaProgram(SanaDevice&, const SanaCall* calls, uint32_t count, SanaMemory* const* buffers);
  ~SanaProgram();
  SanaProgram(const SanaProgram&) = delete;
  SanaProgram& operator=(const SanaProgram&) = delete;

  // Throws ERR_SANA_CANCELLED, or the error, with the call or range of calls that failed if known.
  void run(SanaMemory* arena, const volatile int32_t* cancel, double* milliseconds);

 private:
  void place(char* arena);  // resolves addresses; drops graphs that were recorded with other addresses
  void queue(size_t step);
  void record();
  void run_groups(const volatile int32_t* cancel);
  void run_profiled(double* milliseconds);
  // Calls body(). A fault that is reported by it, or while waiting for the work that it queued, is attributed to calls
  // done_ to queued_ - 1.
  template <class Body>
  void attributing(const Body& body);
  void drop_graphs();

  SanaDevice& device_;
  sana::ProgramSteps<sana::cuda::Call> steps_;
  std::vector<int32_t> offsets_;  // Call::offsets of the steps' lists
  size_t done_ = 0, queued_ = 0;  // numbers of calls of this run
  SanaMemory* device_offsets_ = nullptr;
  char* arena_ = nullptr;
  bool placed_ = false;
  int runs_ = 0;                         // runs with the current arena
  std::vector<cudaGraphExec_t> graphs_;  // one per group, once recorded
};
