// The base class of the addon's JavaScript classes.

#pragma once

#include "binding/instance.h"
#include "binding/javascript.h"

namespace sana {

// An ObjectWrap that only native code can create and that is identified by a type tag, so that no other object is
// accepted in its place. Derived classes define
// `static constexpr napi_type_tag kTag` and `static constexpr const char* kName`.
template <class Self>
class NativeObject : public Napi::ObjectWrap<Self> {
 public:
  // The object behind `value`, or ERR_SANA_ARGUMENT.
  static Self& read(Napi::Value value, const char* name) {
    const Napi::Object object = read_object(value, name);
    if (!object.CheckTypeTag(&Self::kTag)) {
      throw Error("ERR_SANA_ARGUMENT", "Expected `%s` to be a native %s", name, Self::kName);
    }
    return *Napi::ObjectWrap<Self>::Unwrap(object);
  }

 protected:
  using Method = Napi::Value (Self::*)(const Napi::CallbackInfo&);

  explicit NativeObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    guarded(info.Env(), [&] {
      Instance::of(info.Env())->check_constructing();
      info.This().As<Napi::Object>().TypeTag(&Self::kTag);
      return info.Env().Undefined();
    });
  }

  template <Method method>
  Napi::Value throwing(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (static_cast<Self*>(this)->*method)(info); });
  }
  template <Method method>
  Napi::Value rejecting(const Napi::CallbackInfo& info) {
    return promised(info.Env(), [&] { return (static_cast<Self*>(this)->*method)(info); });
  }
};

}  // namespace sana
