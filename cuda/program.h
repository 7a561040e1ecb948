// A program: a flat list of operators with resolved addresses, queued one by one the first time and replayed as CUDA
// graphs from the third: many programs run once, and recording costs more than queueing.
//
// Operators are queued, or recorded, in groups. At most two groups are under way, so that the device never idles and a
// cancel is noticed within two. A fault in a kernel shows when the device is waited for: the calls of these groups are
// all that is known of where it was.

#pragma once

#include <vector>

#include "core/program_steps.h"
#include "cuda/device.h"

struct SanaProgram {
  SanaProgram(SanaDevice&, const SanaCall* calls, uint32_t count, SanaMemory* const* buffers);
  ~SanaProgram();
  SanaProgram(const SanaProgram&) = delete;
  SanaProgram& operator=(const SanaProgram&) = delete;

  // Throws ERR_SANA_CANCELLED, or what failed in the call or the calls where that is known.
  void run(SanaMemory* arena, const volatile int32_t* cancel, double* milliseconds);

 private:
  void place(char* arena);  // resolves addresses; drops what was recorded with others
  void queue(size_t step);
  void record();
  void run_groups(const volatile int32_t* cancel);
  void run_profiled(double* milliseconds);
  // Calls body(); a fault that it, or waiting for what it queued, brings to light is one in calls done_ to queued_ - 1.
  template <class Body>
  void attributing(const Body& body);
  void drop_graphs();

  SanaDevice& device_;
  sana::ProgramSteps<sana::cuda::Call> steps_;
  std::vector<int32_t> offsets_;  // of the steps' lists, as Call::offsets has them
  size_t done_ = 0, queued_ = 0;  // calls of this run
  SanaMemory* device_offsets_ = nullptr;
  char* arena_ = nullptr;
  bool placed_ = false;
  int runs_ = 0;                         // with the arena where it is
  std::vector<cudaGraphExec_t> graphs_;  // one per group, once recorded
};
