// The addon's exports: the operator table, devices, files (see lib/device/native.ts).

#include <napi.h>

#include <cstring>
#include <string>

#include "binding/backends.h"
#include "binding/device_object.h"
#include "binding/file_object.h"
#include "binding/instance.h"
#include "binding/javascript.h"
#include "binding/program.h"
#include "core/generated/operators.h"
#include "core/libraries.h"

namespace sana {
namespace {

// Lists all devices. The argument, if given, is the code path for each backend, by its name: {cpu: "avx2"}.
Napi::Value list_devices(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const bool any = !info[0].IsUndefined();
    const Napi::Object paths = any ? read_object(info[0], "paths") : Napi::Object::New(info.Env());
    Napi::Array devices = Napi::Array::New(info.Env());
    for (const SanaBackend* backend : backends()) {
      const Napi::Value given = paths.Get(backend->name);
      const std::string path = given.IsUndefined() ? "" : read_text(given, "path");
      const SanaDeviceOptions options = {0, path.c_str()};
      uint32_t count = 0;
      SanaFailure failure;
      check(backend->device_count(&count, &failure), failure);
      for (uint32_t i = 0; i < count; ++i) {
        SanaDeviceInfo device;
        check(backend->device_info(i, &options, &device, &failure), failure);
        devices.Set(devices.Length(), device_info(info.Env(), *backend, i, device));
      }
    }
    return devices;
  });
}

Napi::Value open_backend_libraries(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!info[0].IsArray()) throw Error("ERR_SANA_ARGUMENT", "Expected `files` to be an array");
    const auto given = info[0].As<Napi::Array>();
    std::vector<std::string> files;
    for (uint32_t i = 0; i < given.Length(); ++i) files.push_back(read_text(given.Get(i), "file"));
    Napi::Array list = Napi::Array::New(info.Env());
    for (const BackendLibrary& library : open_libraries(files).tried) {
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("file", library.file);
      entry.Set("problem", library.problem);
      entry.Set("toolkit", library.toolkit);
      list.Set(list.Length(), entry);
    }
    return list;
  });
}

Napi::Value open_device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return DeviceObject::create(info.Env(), *Instance::of(info.Env()), info[0]); });
}

Napi::Value open_file(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return FileObject::create(info.Env(), *Instance::of(info.Env()), read_text(info[0], "path"));
  });
}

Napi::Value make_errors_with(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!info[0].IsFunction()) throw Error("ERR_SANA_ARGUMENT", "Expected `makeError` to be a function");
    Instance::of(info.Env())->make_error = Napi::Persistent(info[0].As<Napi::Function>());
    return info.Env().Undefined();
  });
}

// Turns "a|b" into ['a', 'b'].
Napi::Array split(Napi::Env env, const char* names) {
  Napi::Array list = Napi::Array::New(env);
  for (const char* name = names; *name;) {
    const size_t length = std::strcspn(name, "|");
    list.Set(list.Length(), std::string(name, length));
    name += length + (name[length] == '|');
  }
  return list;
}

Napi::Array dtype_names(Napi::Env env, uint32_t mask) {
  Napi::Array list = Napi::Array::New(env);
  for (uint32_t dtype = 0; dtype < std::size(kDTypeNames); ++dtype) {
    if (mask >> dtype & 1) list.Set(list.Length(), kDTypeNames[dtype]);
  }
  return list;
}

Napi::Array operator_table(Napi::Env env) {
  Napi::Array table = Napi::Array::New(env);
  for (const OperatorSpec& spec : kOperators) {
    Napi::Array operands = Napi::Array::New(env), attributes = Napi::Array::New(env);
    for (int i = 0; spec.operands[i].name; ++i) {
      Napi::Object operand = Napi::Object::New(env);
      operand.Set("name", spec.operands[i].name);
      operand.Set("role", spec.operands[i].role);
      operand.Set("dtypes", dtype_names(env, spec.operands[i].dtypes));
      operand.Set("layout", spec.operands[i].layout);
      operands.Set(operands.Length(), operand);
    }
    for (int i = 0; spec.attributes[i].name; ++i) {
      Napi::Object attribute = Napi::Object::New(env);
      attribute.Set("name", spec.attributes[i].name);
      attribute.Set("kind", spec.attributes[i].kind);
      if (spec.attributes[i].least > -kUnlimited) attribute.Set("least", spec.attributes[i].least);
      if (spec.attributes[i].most < kUnlimited) attribute.Set("most", spec.attributes[i].most);
      attributes.Set(attributes.Length(), attribute);
    }
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", spec.name);
    entry.Set("operands", operands);
    entry.Set("attributes", attributes);
    entry.Set("inPlace", split(env, spec.in_place));
    table.Set(table.Length(), entry);
  }
  return table;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  guarded(env, [&] {
    const auto instance = Instance::create(env);
    instance->device = Napi::Persistent(DeviceObject::define(env));
    instance->buffer = Napi::Persistent(BufferObject::define(env));
    instance->file = Napi::Persistent(FileObject::define(env));
    instance->program = Napi::Persistent(ProgramObject::define(env));
    exports.Set("operators", operator_table(env));
    exports.Set("openLibraries", Napi::Function::New<open_backend_libraries>(env, "openLibraries"));
    exports.Set("listDevices", Napi::Function::New<list_devices>(env, "listDevices"));
    exports.Set("openDevice", Napi::Function::New<open_device>(env, "openDevice"));
    exports.Set("makeErrorsWith", Napi::Function::New<make_errors_with>(env, "makeErrorsWith"));
    exports.Set("openFile", Napi::Function::New<open_file>(env, "openFile"));
    return env.Undefined();
  });
  return exports;
}

}  // namespace
}  // namespace sana

static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) {
  return sana::initialize(env, exports);
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, initialize_addon)
