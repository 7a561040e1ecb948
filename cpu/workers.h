// A fixed team of threads that the kernels split their work over, and a workspace for each.

#pragma once

#include <stdint.h>

namespace sana::cpu {

class Workers {
 public:
  // Scratch memory that each worker owns, 64-byte aligned: packed tiles, attention scores. Kernels tile to fit.
  static constexpr int64_t kWorkspaceBytes = 4 << 20;

  using Task = void (*)(void* context, int64_t task, int worker);

  virtual int count() const = 0;
  // Runs task(context, i, worker) for every i in [0, tasks), the calling thread being worker 0, and waits for all.
  // Tasks are handed out in order as workers become free; a result must not depend on who runs what.
  virtual void run(int64_t tasks, Task task, void* context) = 0;
  virtual void* workspace(int worker) = 0;

 protected:
  ~Workers() = default;
};

}  // namespace sana::cpu
