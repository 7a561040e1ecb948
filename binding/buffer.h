// JavaScript's objects for device memory.

#pragma once

#include <memory>

#include "binding/native_object.h"
#include "core/device.h"

namespace sana {

// Shared by the JavaScript object and the programs that use it.
class Buffer final : public Resource {
 public:
  Buffer(Napi::BasicEnv, std::shared_ptr<Device>, uint64_t bytes);
  ~Buffer() { dispose(); }

  uint64_t bytes() const { return bytes_; }
  const std::shared_ptr<Memory>& memory() const;                  // ERR_SANA_DISPOSED
  const std::shared_ptr<Memory>& memory_on(const Device&) const;  // also ERR_SANA_ARGUMENT if on another device

 private:
  void release() override;

  const Napi::BasicEnv env_;
  const uint64_t bytes_;
  std::shared_ptr<Memory> memory_;
};

class BufferObject : public NativeObject<BufferObject> {
 public:
  static constexpr napi_type_tag kTag = {0x73616e6162756666, 0x6572000000000001};
  static constexpr const char* kName = "buffer";
  static Napi::Function define(Napi::Env);
  static Napi::Object create(Napi::Env, Instance&, std::shared_ptr<Device>, uint64_t bytes);

  explicit BufferObject(const Napi::CallbackInfo&);

  const std::shared_ptr<Buffer>& buffer() const { return buffer_; }
  // The memory of the buffer that is passed as `value`. Throws unless the buffer is on this device and has `bytes`
  // bytes at `offset`.
  static std::shared_ptr<Memory> read_range(Napi::Value, const Device&, uint64_t offset, uint64_t bytes);

 private:
  Napi::Value dispose(const Napi::CallbackInfo&);
  Napi::Value bytes(const Napi::CallbackInfo&);

  std::shared_ptr<Buffer> buffer_;
};

}  // namespace sana
