// JavaScript's device objects: memory, loading, programs, runs. Work is queued for the device's executor.

#pragma once

#include <memory>

#include "binding/native_object.h"
#include "core/device.h"

namespace sana {

// The object that listDevices() and `device.info` return.
Napi::Object device_info(Napi::Env, const SanaBackend&, uint32_t index, const SanaDeviceInfo&);

class DeviceObject : public NativeObject<DeviceObject> {
 public:
  static constexpr napi_type_tag kTag = {0x73616e6164657669, 0x6365000000000004};
  static constexpr const char* kName = "device";
  static Napi::Function define(Napi::Env);
  static Napi::Object create(Napi::Env, Instance&, Napi::Value options);

  explicit DeviceObject(const Napi::CallbackInfo&);
  ~DeviceObject();

 private:
  // Throws ERR_SANA_DISPOSED. Methods hold the result while they read their arguments, because a getter may dispose of
  // this object.
  std::shared_ptr<Device> device() const;

  Napi::Value info(const Napi::CallbackInfo&);
  Napi::Value memory(const Napi::CallbackInfo&);
  Napi::Value reset_peak(const Napi::CallbackInfo&);
  Napi::Value allocate(const Napi::CallbackInfo&);
  Napi::Value tensor_bytes(const Napi::CallbackInfo&);
  Napi::Value write(const Napi::CallbackInfo&);
  Napi::Value read_memory(const Napi::CallbackInfo&);
  Napi::Value pack_rows(const Napi::CallbackInfo&);
  Napi::Value gather_rows(const Napi::CallbackInfo&);
  Napi::Value create_program(const Napi::CallbackInfo&);
  Napi::Value run(const Napi::CallbackInfo&);
  Napi::Value ceilings(const Napi::CallbackInfo&);
  Napi::Value dispose(const Napi::CallbackInfo&);

  std::shared_ptr<Instance> instance_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<Executor> executor_;
};

}  // namespace sana
