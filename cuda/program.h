// A program: a flat list of operators with resolved addresses, queued one by one the first time and replayed as CUDA
// graphs from the third: many programs run once, and recording costs more than queueing.
//
// Operators are queued, or recorded, in groups. At most two groups are under way, so that the device never idles and a
// cancel is noticed within two.

#pragma once

#include <vector>

#include "cuda/device.h"

struct SanaProgram {
  SanaProgram(SanaDevice&, const SanaCall* calls, uint32_t count, SanaMemory* const* buffers);
  ~SanaProgram();
  SanaProgram(const SanaProgram&) = delete;
  SanaProgram& operator=(const SanaProgram&) = delete;

  // Throws ERR_SANA_CANCELLED, or what failed with the operator's name where that is known.
  void run(SanaMemory* arena, const volatile int32_t* cancel, double* milliseconds);

 private:
  struct Step {
    uint32_t op;
    sana::cuda::Call call;
    bool in_arena[kSanaMaxOperands];
    uint64_t arena_offset[kSanaMaxOperands];
    size_t first_offset;  // of its list in offsets_
  };

  void place(char* arena);  // resolves addresses; drops what was recorded with others
  void queue(size_t step) const;
  void record();
  void run_profiled(double* milliseconds);
  void drop_graphs();

  SanaDevice& device_;
  std::vector<Step> steps_;
  std::vector<int64_t> lists_;
  std::vector<int32_t> offsets_;
  SanaMemory* device_offsets_ = nullptr;
  char* arena_ = nullptr;
  bool placed_ = false;
  int runs_ = 0;                         // with the arena where it is
  std::vector<cudaGraphExec_t> graphs_;  // one per group, once recorded
};
