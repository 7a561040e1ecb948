#include "binding/instance.h"

#include "binding/javascript.h"
#include "core/error.h"

namespace sana {

Instance::Instance(Napi::Env env) : completions_(env) {
  array_buffer_ = Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>());
  files_ = new_executor("sana-files");
}

std::shared_ptr<Instance> Instance::create(Napi::Env env) {
  auto instance = std::shared_ptr<Instance>(new Instance(env));
  env.SetInstanceData(new std::shared_ptr<Instance>(instance));
  // Cleanup hooks run last in, first out: this one runs before the thread-safe function's, while the environment is
  // still usable.
  napi_add_env_cleanup_hook(env, tear_down, instance.get());
  return instance;
}

std::shared_ptr<Instance> Instance::of(Napi::Env env) {
  return *env.GetInstanceData<std::shared_ptr<Instance>>();
}

// Cancels running work, waits for the threads, and releases every JavaScript reference.
void Instance::tear_down(void* data) {
  auto& self = *static_cast<Instance*>(data);
  for (const auto& executor : self.executors_) executor->stop();
  for (const auto& executor : self.executors_) executor->join();
  self.completions_.drop();
  for (auto* reference :
       {&self.device, &self.buffer, &self.file, &self.program, &self.make_error, &self.array_buffer_}) {
    reference->Reset();
  }
}

std::shared_ptr<Executor> Instance::new_executor(const char* thread_name) {
  std::erase_if(executors_, [](const auto& executor) { return executor->retired(); });
  return executors_.emplace_back(std::make_shared<Executor>(completions_, thread_name));
}

Napi::Promise Instance::submit(Executor& executor, std::unique_ptr<Job> job) {
  const Napi::Env env = array_buffer_.Env();
  napi_value promise;
  if (napi_create_promise(env, &job->deferred, &promise) != napi_ok) {
    throw Error("ERR_SANA_ADDON", "cannot create a promise");
  }
  executor.submit(std::move(job));
  return Napi::Value(env, promise).As<Napi::Promise>();
}

Napi::Promise Instance::submit(Executor& executor, std::function<void(const CancelFlag&)> work,
                               std::function<napi_value(napi_env)> result) {
  auto job = std::make_unique<Job>();
  job->work = std::move(work);
  job->result = std::move(result);
  return submit(executor, std::move(job));
}

napi_value Instance::undefined(napi_env env) {
  return Napi::Env(env).Undefined();
}

Napi::Object Instance::construct(const Napi::FunctionReference& constructor,
                                 std::initializer_list<napi_value> arguments) {
  constructing_ = true;
  struct Reset {
    bool& flag;
    ~Reset() { flag = false; }
  } reset{constructing_};
  return constructor.New(arguments);
}

void Instance::check_constructing() const {
  if (!constructing_)
    throw Error("ERR_SANA_ARGUMENT", "objects of the addon are created by its functions, not by `new`");
}

Napi::ArrayBuffer Instance::new_array_buffer(Napi::Env env, uint64_t bytes) {
  try {
    return array_buffer_.New({Napi::Number::New(env, double(bytes))}).As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw Error("ERR_SANA_MEMORY", "not enough memory for an ArrayBuffer of %llu bytes",
                static_cast<unsigned long long>(bytes));
  }
}

}  // namespace sana
