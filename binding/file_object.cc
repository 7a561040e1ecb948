#include "binding/file_object.h"

namespace sana {
namespace {

constexpr uint64_t kMostBytesAtOnce = uint64_t(1) << 31;

}  // namespace

Napi::Function FileObject::define(Napi::Env env) {
  return DefineClass(env, "NativeFile",
                     {InstanceMethod("read", &FileObject::rejecting<&FileObject::read_range>),
                      InstanceMethod("close", &FileObject::throwing<&FileObject::close>)});
}

Napi::Object FileObject::create(Napi::Env env, Instance& instance, std::string path) {
  auto file = std::make_shared<File>(std::move(path));
  Napi::Object object = instance.construct(instance.file);
  object.DefineProperties({
      Napi::PropertyDescriptor::Value("path", Napi::String::New(env, file->path()), napi_enumerable),
      Napi::PropertyDescriptor::Value("bytes", Napi::Number::New(env, double(file->bytes())), napi_enumerable),
  });
  Unwrap(object)->file_ = std::move(file);
  return object;
}

FileObject::FileObject(const Napi::CallbackInfo& info) : NativeObject(info) {}

const std::shared_ptr<File>& FileObject::file() const {
  if (!file_) throw Error("ERR_SANA_DISPOSED", "the file has been closed");
  return file_;
}

Napi::Value FileObject::read_range(const Napi::CallbackInfo& info) {
  const uint64_t offset = read_bytes(info[0], "offset");
  const uint64_t bytes = uint64_t(read_integer(info[1], "bytes", 0, int64_t(kMostBytesAtOnce)));
  const std::shared_ptr<File> file = this->file();
  file->check_range(offset, bytes);
  const auto instance = Instance::of(info.Env());
  Napi::ArrayBuffer target = instance->new_array_buffer(info.Env(), bytes);
  auto kept = std::make_shared<Napi::Reference<Napi::ArrayBuffer>>(Napi::Persistent(target));
  return instance->submit(
      instance->files(),
      [file, offset, bytes, data = target.Data()](const CancelFlag&) { file->read(offset, data, bytes); },
      [kept](napi_env) { return kept->Value(); });
}

Napi::Value FileObject::close(const Napi::CallbackInfo& info) {
  file_.reset();
  return info.Env().Undefined();
}

}  // namespace sana
