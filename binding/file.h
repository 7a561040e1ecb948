// Regular files, read with pread and checked against the size they had when opened.

#pragma once

#include <memory>
#include <string>

#include "binding/native_object.h"
#include "core/byte_source.h"

namespace sana {

class File : public ByteSource {
 public:
  explicit File(std::string path);  // ERR_SANA_FILE: not there, not a regular file, not readable
  ~File() override;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  void check_range(uint64_t offset, uint64_t bytes) const override;
  // Any thread. ERR_SANA_FILE when the file has shrunk since it was opened.
  void read(uint64_t offset, void* target, uint64_t bytes) const override;

 private:
  const std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
};

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
