// JavaScript's file objects.

#pragma once

#include <memory>
#include <string>

#include "binding/native_object.h"
#include "core/file.h"

namespace sana {

class FileObject : public NativeObject<FileObject> {
 public:
  static constexpr napi_type_tag kTag = {0x73616e6166696c65, 0x0000000000000002};
  static constexpr const char* kName = "file";
  static Napi::Function define(Napi::Env);
  static Napi::Object create(Napi::Env, Instance&, std::string path);

  explicit FileObject(const Napi::CallbackInfo&);

  const std::shared_ptr<File>& file() const;  // ERR_SANA_DISPOSED once closed

 private:
  Napi::Value read_range(const Napi::CallbackInfo&);
  Napi::Value close(const Napi::CallbackInfo&);

  std::shared_ptr<File> file_;
};

}  // namespace sana
