// Runs work off the JavaScript thread. An Executor is one thread with a queue of jobs, which it runs in order. A
// finished job goes to the Completions of its addon instance, which settles the job's promise on the JavaScript thread.

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
  std::function<void(const CancelFlag&)> work;  // on the executor's thread; must not use JavaScript values
  std::function<napi_value(napi_env)> result;   // on the JavaScript thread; holds the references that it needs
  napi_deferred deferred = nullptr;
  std::shared_ptr<CancelFlag> cancel = std::make_shared<CancelFlag>();
  std::optional<Error> failure;
};

// Passes finished jobs to the JavaScript thread. Keeps the event loop alive while any job is pending.
class Completions {
 public:
  explicit Completions(napi_env);
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  void expect();                    // JavaScript thread: a job has been submitted
  void post(std::unique_ptr<Job>);  // any thread: the job is done
  void drop();                      // JavaScript thread, at teardown: no more promises are settled

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

  // Ends the thread after all queued jobs are done. No further job may be submitted.
  void finish();
  // Cancels the running job and rejects it and all queued jobs with ERR_SANA_DISPOSED. Does not wait.
  void stop();
  // After finish() or stop(): whether the thread has ended, so that join() does not wait.
  bool retired();
  void join();

 private:
  void run();
  void wake();

  Completions& completions_;
  const char* const thread_name_;
  std::mutex mutex_;
  // Incremented by each event that may wake the thread. Not a std::condition_variable, because GCC 12's requires a
  // newer C++ library than RHEL 9 has.
  std::atomic<uint32_t> changes_ = 0;
  std::deque<std::unique_ptr<Job>> queue_;
  std::shared_ptr<CancelFlag> at_work_;
  bool finishing_ = false, stopping_ = false, ended_ = false;
  std::thread thread_;  // started by the first job
};

}  // namespace sana
