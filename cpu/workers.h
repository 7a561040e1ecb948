// A fixed team of threads that share the work of a kernel, with a workspace for each.

#pragma once

#include <stdint.h>

namespace sana::cpu {

class Workers {
 public:
  // Scratch memory of each worker, 64-byte aligned: packed tiles, attention scores. Kernels choose tiles that fit.
  static constexpr int64_t kWorkspaceBytes = 4 << 20;

  using Task = void (*)(void* context, int64_t task, int worker);

  virtual int count() const = 0;
  // Runs task(context, i, worker) for every i in [0, tasks) and waits for all; the calling thread is worker 0. Tasks
  // are handed out in order as workers become free. Results must not depend on which worker runs a task.
  virtual void run(int64_t tasks, Task task, void* context) = 0;
  virtual void* workspace(int worker) = 0;

 protected:
  ~Workers() = default;
};

}  // namespace sana::cpu
