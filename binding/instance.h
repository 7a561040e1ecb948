// The state of one instance of the addon: every JavaScript environment (the main thread, each worker) has its own, and
// nothing is shared between them.

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

  // Makes an object of the addon. Its constructor is reachable from JavaScript through any instance, so it refuses
  // to run at any other time.
  Napi::Object construct(const Napi::FunctionReference&, std::initializer_list<napi_value> = {});
  void check_constructing() const;

  // An ArrayBuffer that work may fill off the JavaScript thread. Made by the language's own constructor, which throws
  // when there is no memory; N-API's function aborts the process.
  Napi::ArrayBuffer new_array_buffer(Napi::Env, uint64_t bytes);

  Napi::FunctionReference device, buffer, file, program;
  Napi::FunctionReference make_error;  // (code, message) => Error; empty until JavaScript gives one

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
