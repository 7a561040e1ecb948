// Work off the JavaScript thread. An Executor is one thread with a queue of jobs, done in order; a finished job goes
// to the Completions of its addon instance, which settle its promise on the JavaScript thread.

#pragma once

#include <node_api.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "core/cancel.h"
#include "core/error.h"

namespace sana {

struct Job {
  std::function<void(const CancelFlag&)> work;  // on the executor's thread; no JavaScript value may be touched
  std::function<napi_value(napi_env)> result;   // on the JavaScript thread; holds what JavaScript references it needs
  napi_deferred deferred = nullptr;
  std::shared_ptr<CancelFlag> cancel = std::make_shared<CancelFlag>();
  std::optional<Error> failure;
};

// Finished jobs on their way to the JavaScript thread. While one is under way the event loop stays alive.
class Completions {
 public:
  explicit Completions(napi_env);
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  void expect();                    // JavaScript thread: a job has been submitted
  void post(std::unique_ptr<Job>);  // any thread: it is done
  void drop();                      // JavaScript thread, at teardown: nothing will be settled any more

 private:
  static void settle_all(napi_env, napi_value, void* context, void*);
  void settle(Job&);

  const napi_env env_;
  napi_threadsafe_function signal_ = nullptr;
  int64_t expected_ = 0;  // JavaScript thread only
  std::mutex mutex_;
  std::deque<std::unique_ptr<Job>> done_;
};

class Executor {
 public:
  Executor(Completions&, const char* thread_name);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void submit(std::unique_ptr<Job>);

  // No further job will come: those waiting are done first.
  void finish();
  // Cancels the job at work and rejects it and those waiting with ERR_SANA_DISPOSED. Waits for nothing.
  void stop();
  // After finish() or stop(): whether the thread is through, so that join() does not wait.
  bool retired();
  void join();

 private:
  void run();
  void wake();

  Completions& completions_;
  const char* const thread_name_;
  std::mutex mutex_;
  // Counts what may end the thread's sleep. No std::condition_variable: GCC 12's would ask for a C++ library that is
  // newer than RHEL 9's.
  std::atomic<uint32_t> changes_ = 0;
  std::deque<std::unique_ptr<Job>> queue_;
  std::shared_ptr<CancelFlag> at_work_;
  bool finishing_ = false, stopping_ = false, ended_ = false;
  std::thread thread_;  // started by the first job
};

}  // namespace sana
