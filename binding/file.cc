#include "binding/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace sana {
namespace {

constexpr uint64_t kMostBytesAtOnce = uint64_t(1) << 31;

}  // namespace

// O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
File::File(std::string path) : path_(std::move(path)) {
  if (path_.empty() || path_.find('\0') != std::string::npos) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `path` to be a file's path without NUL characters");
  }
  descriptor_ = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor_ < 0) throw Error("ERR_SANA_FILE", "%.512s cannot be opened: %s", path_.c_str(), strerror(errno));
  struct stat status;
  const bool known = fstat(descriptor_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    close(descriptor_);
    throw Error("ERR_SANA_FILE", "%.512s is not a regular file", path_.c_str());
  }
  bytes_ = uint64_t(status.st_size);
}

File::~File() {
  close(descriptor_);
}

void File::check_range(uint64_t offset, uint64_t bytes) const {
  if (offset <= bytes_ && bytes <= bytes_ - offset) return;
  throw Error("ERR_SANA_FILE", "%.512s has %llu bytes, fewer than the %llu at offset %llu that were asked for",
              path_.c_str(), static_cast<unsigned long long>(bytes_), static_cast<unsigned long long>(bytes),
              static_cast<unsigned long long>(offset));
}

void File::read(uint64_t offset, void* target, uint64_t bytes) const {
  check_range(offset, bytes);
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t got = pread(descriptor_, static_cast<char*>(target) + done,
                              std::min(bytes - done, kMostBytesAtOnce / 2), off_t(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw Error("ERR_SANA_FILE", "%.512s: expected %llu bytes at offset %llu, got %llu: %s", path_.c_str(),
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                  static_cast<unsigned long long>(done),
                  got < 0 ? strerror(errno) : "the file shrank while it was open");
    }
    done += uint64_t(got);
  }
}

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
