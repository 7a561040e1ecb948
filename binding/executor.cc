#include "binding/executor.h"

#include <cstring>
#include <exception>
#include <new>

#include "binding/javascript.h"
#include "platform/threads.h"

namespace sana {

// -- Completions ------------------------------------------------------------------------------------------------------
// Uses plain N-API: while a worker is being terminated every call may fail, and then there is nothing to report the
// error to.

Completions::Completions(napi_env env) : env_(env) {
  napi_value name;
  if (napi_create_string_utf8(env, "sana-native", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settle_all,
                                      &signal_) != napi_ok) {
    throw Error("ERR_SANA_ADDON", "cannot create a thread-safe function");
  }
  napi_unref_threadsafe_function(env, signal_);
}

void Completions::expect() {
  if (expected_++ == 0) napi_ref_threadsafe_function(env_, signal_);
}

void Completions::post(std::unique_ptr<Job> job) {
  {
    std::lock_guard lock(mutex_);
    done_.push_back(std::move(job));
  }
  napi_call_threadsafe_function(signal_, nullptr, napi_tsfn_nonblocking);
}

void Completions::drop() {
  std::lock_guard lock(mutex_);
  done_.clear();
}

void Completions::settle_all(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;  // torn down
  auto& self = *static_cast<Completions*>(context);
  for (;;) {
    std::unique_ptr<Job> job;
    {
      std::lock_guard lock(self.mutex_);
      if (self.done_.empty()) return;
      job = std::move(self.done_.front());
      self.done_.pop_front();
    }
    self.settle(*job);
    if (--self.expected_ == 0) napi_unref_threadsafe_function(env, self.signal_);
  }
}

void Completions::settle(Job& job) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
  napi_value value = nullptr;
  if (!job.failure) {
    try {
      value = job.result(env_);
    } catch (...) {
      job.failure = Error("ERR_SANA_MEMORY", "the result cannot be created");
    }
  }
  if (job.failure) {
    value = error_to_js(env_, *job.failure);
    if (value) napi_reject_deferred(env_, job.deferred, value);
  } else if (value) {
    napi_resolve_deferred(env_, job.deferred, value);
  }
  napi_close_handle_scope(env_, scope);
}

// -- Executor ---------------------------------------------------------------------------------------------------------

Executor::Executor(Completions& completions, const char* thread_name)
    : completions_(completions), thread_name_(thread_name) {}

Executor::~Executor() {
  stop();
  join();
}

void Executor::submit(std::unique_ptr<Job> job) {
  std::lock_guard lock(mutex_);
  if (finishing_) throw Error("ERR_SANA_DISPOSED", "the device has been disposed of");
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  queue_.push_back(std::move(job));
  completions_.expect();
  wake();
}

void Executor::finish() {
  std::lock_guard lock(mutex_);
  finishing_ = true;
  wake();
}

void Executor::stop() {
  std::lock_guard lock(mutex_);
  finishing_ = stopping_ = true;
  if (at_work_) at_work_->raise();
  wake();
}

bool Executor::retired() {
  std::lock_guard lock(mutex_);
  return ended_ || (finishing_ && !thread_.joinable());
}

void Executor::join() {
  if (thread_.joinable()) thread_.join();
}

void Executor::wake() {
  changes_.fetch_add(1);
  changes_.notify_one();
}

void Executor::run() {
  platform::name_thread(thread_name_);
  std::unique_lock lock(mutex_);
  for (;;) {
    while (!finishing_ && queue_.empty()) {
      const uint32_t seen = changes_;
      lock.unlock();
      changes_.wait(seen);
      lock.lock();
    }
    if (queue_.empty()) break;
    std::unique_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    at_work_ = job->cancel;
    if (stopping_) job->cancel->raise();
    lock.unlock();

    try {
      if (job->cancel->raised()) throw Error("ERR_SANA_CANCELLED", "cancelled before it began");
      job->work(*job->cancel);
    } catch (const Error& error) {
      job->failure = error;
    } catch (const std::bad_alloc&) {
      job->failure = Error("ERR_SANA_MEMORY", "out of host memory");
    } catch (const std::exception& error) {
      job->failure = Error("ERR_SANA_DEVICE", "%s", error.what());
    }
    job->work = nullptr;  // releases memory and files now, not later on the JavaScript thread

    lock.lock();
    at_work_.reset();
    if (stopping_ && job->failure && std::strcmp(job->failure->code(), "ERR_SANA_CANCELLED") == 0) {
      job->failure = Error("ERR_SANA_DISPOSED", "the device was disposed of before this was done");
    }
    completions_.post(std::move(job));
  }
  ended_ = true;
}

}  // namespace sana
