// The Workers of one device: count - 1 threads and the thread that calls run().
//
// Tasks come from one atomic counter. A worker without a task spins for a while, because the next operator is usually
// microseconds away, and then sleeps.

#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "cpu/workers.h"

namespace sana::cpu {

class ThreadTeam final : public Workers {
 public:
  explicit ThreadTeam(int count);  // throws sana::Error if threads or workspaces cannot be created
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int count() const override { return count_; }
  void run(int64_t tasks, Task task, void* context) override;
  void* workspace(int worker) override { return workspaces_[size_t(worker)]; }

  // While *flag is non-zero, run() hands out no further tasks, so that a long operator stops too. The operator's
  // result, and all later ones, are then undefined: the caller must check the flag after each operator.
  void set_cancel(const volatile int32_t* flag) { cancel_ = flag; }

 private:
  void stop();
  void work(int worker);
  void take_tasks(int worker);
  bool cancelled() const { return cancel_ && __atomic_load_n(cancel_, __ATOMIC_RELAXED) != 0; }

  const int count_;
  std::vector<void*> workspaces_;
  std::vector<std::thread> threads_;
  const volatile int32_t* cancel_ = nullptr;

  // The current work, written by run() while every thread waits for the next generation.
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;

  // Each is on a separate cache line, because all threads write them.
  alignas(64) std::atomic<int64_t> next_task_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int32_t> busy_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace sana::cpu
