#include "cpu/thread_team.h"

#include <stdio.h>

#include <chrono>
#include <string>
#include <system_error>

#include "core/error.h"
#include "platform/pages.h"
#include "platform/threads.h"

namespace sana::cpu {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`: spins first, then sleeps.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadTeam::ThreadTeam(int count) : count_(count) {
  try {
    for (int worker = 0; worker < count; ++worker) {
      std::string problem;
      void* workspace = platform::map_pages(kWorkspaceBytes, problem);
      if (!workspace) {
        throw Error("ERR_SANA_MEMORY", "cannot allocate %lld bytes of workspace for each of %d threads: %s",
                    static_cast<long long>(kWorkspaceBytes), count, problem.c_str());
      }
      workspaces_.push_back(workspace);
    }
    for (int worker = 1; worker < count; ++worker) threads_.emplace_back([this, worker] { work(worker); });
  } catch (const std::system_error& error) {
    const size_t started = threads_.size();
    stop();
    throw Error("ERR_SANA_DEVICE", "cannot start thread %zu of %d: %s", started + 2, count, error.what());
  } catch (...) {
    stop();
    throw;
  }
}

ThreadTeam::~ThreadTeam() {
  stop();
}

void ThreadTeam::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  for (void* workspace : workspaces_) platform::unmap_pages(workspace, kWorkspaceBytes);
}

void ThreadTeam::run(int64_t tasks, Task task, void* context) {
  task_ = task;
  context_ = context;
  tasks_ = tasks;
  next_task_.store(0, std::memory_order_relaxed);
  if (tasks <= 1 || threads_.empty()) {
    take_tasks(0);
    return;
  }
  busy_.store(static_cast<int32_t>(threads_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  take_tasks(0);
  for (int32_t left; (left = busy_.load(std::memory_order_acquire)) != 0;) wait_for_change(busy_, left);
}

void ThreadTeam::work(int worker) {
  char name[16];
  snprintf(name, sizeof name, "sana-cpu-%d", worker);
  platform::name_thread(name);
  platform::lower_thread_priority();  // the event loop's thread has priority
  for (uint32_t seen = 0;; ++seen) {
    wait_for_change(generation_, seen);
    if (stopping_.load(std::memory_order_relaxed)) return;
    take_tasks(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

void ThreadTeam::take_tasks(int worker) {
  for (int64_t i; !cancelled() && (i = next_task_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) {
    task_(context_, i, worker);
  }
}

}  // namespace sana::cpu
