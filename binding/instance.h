// The state of one instance of the addon. Every JavaScript environment (the main thread, each worker) has its own
// instance; they share nothing.

#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "binding/executor.h"

namespace sana {

class Instance {
 public:
  static std::shared_ptr<Instance> create(Napi::Env);
  static std::shared_ptr<Instance> of(Napi::Env);
  ~Instance() = default;

  std::shared_ptr<Executor> new_executor(const char* thread_name);
  Executor& files() { return *files_; }

  // Submits work and returns its promise.
  Napi::Promise submit(Executor&, std::unique_ptr<Job>);
  Napi::Promise submit(Executor&, std::function<void(const CancelFlag&)> work,
                       std::function<napi_value(napi_env)> result = undefined);
  static napi_value undefined(napi_env);

  // Creates an object of one of the addon's classes. JavaScript can reach the constructors through any object, so they
  // refuse to run outside this function.
  Napi::Object construct(const Napi::FunctionReference&, std::initializer_list<napi_value> = {});
  void check_constructing() const;

  // An ArrayBuffer that work may fill off the JavaScript thread. Created by JavaScript's constructor, which throws if
  // memory is short; N-API's function aborts the process.
  Napi::ArrayBuffer new_array_buffer(Napi::Env, uint64_t bytes);

  Napi::FunctionReference device, buffer, file, program;
  Napi::FunctionReference make_error;  // (code, message) => Error; empty until JavaScript sets it

 private:
  explicit Instance(Napi::Env);
  static void tear_down(void* instance);

  Napi::FunctionReference array_buffer_;
  Completions completions_;
  std::vector<std::shared_ptr<Executor>> executors_;
  std::shared_ptr<Executor> files_;
  bool constructing_ = false;
};

}  // namespace sana
