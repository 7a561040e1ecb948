#include "binding/buffer.h"

namespace sana {

// The garbage collector is told the number of bytes behind the small object, so that it collects the object in time
// even if dispose() is never called.
Buffer::Buffer(Napi::BasicEnv env, std::shared_ptr<Device> device, uint64_t bytes)
    : Resource(device), env_(env), bytes_(bytes), memory_(std::make_shared<Memory>(std::move(device), bytes)) {
  Napi::MemoryManagement::AdjustExternalMemory(env_, int64_t(bytes_));
}

void Buffer::release() {
  memory_.reset();
  Napi::MemoryManagement::AdjustExternalMemory(env_, -int64_t(bytes_));
}

const std::shared_ptr<Memory>& Buffer::memory() const {
  if (!memory_) throw Error("ERR_SANA_DISPOSED", "the buffer has been disposed of");
  return memory_;
}

const std::shared_ptr<Memory>& Buffer::memory_on(const Device& device) const {
  const std::shared_ptr<Memory>& memory = this->memory();
  if (!on(device)) throw Error("ERR_SANA_ARGUMENT", "Expected a buffer of this device, got one of another");
  return memory;
}

Napi::Function BufferObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeBuffer",
      {InstanceAccessor("bytes", &BufferObject::throwing<&BufferObject::bytes>, nullptr, napi_enumerable),
       InstanceMethod("dispose", &BufferObject::throwing<&BufferObject::dispose>)});
}

Napi::Object BufferObject::create(Napi::Env env, Instance& instance, std::shared_ptr<Device> device, uint64_t bytes) {
  auto buffer = std::make_shared<Buffer>(env, std::move(device), bytes);
  const Napi::Object object = instance.construct(instance.buffer);
  Unwrap(object)->buffer_ = std::move(buffer);
  return object;
}

BufferObject::BufferObject(const Napi::CallbackInfo& info) : NativeObject(info) {}

std::shared_ptr<Memory> BufferObject::read_range(Napi::Value value, const Device& device, uint64_t offset,
                                                 uint64_t bytes) {
  const Buffer& buffer = *read(value, "buffer").buffer();
  const std::shared_ptr<Memory>& memory = buffer.memory_on(device);
  if (offset > buffer.bytes() || bytes > buffer.bytes() - offset) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `offset` + `bytes` to be at most the buffer's %llu, got %llu + %llu",
                static_cast<unsigned long long>(buffer.bytes()), static_cast<unsigned long long>(offset),
                static_cast<unsigned long long>(bytes));
  }
  return memory;
}

Napi::Value BufferObject::dispose(const Napi::CallbackInfo& info) {
  buffer_->dispose();
  return info.Env().Undefined();
}

Napi::Value BufferObject::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(buffer_->bytes()));
}

}  // namespace sana
