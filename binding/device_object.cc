#include "binding/device_object.h"

#include <cstring>
#include <optional>
#include <vector>

#include "binding/backends.h"
#include "binding/buffer.h"
#include "binding/file_object.h"
#include "binding/program.h"
#include "core/generated/operators.h"
#include "core/loading.h"
#include "core/tensor.h"

namespace sana {
namespace {

constexpr int64_t kMostBytesAtOnce = int64_t(1) << 31;
constexpr int64_t kMostThreads = 1024;

uint32_t read_row_dtype(Napi::Value value, const char* name) {
  const uint32_t dtype = read_dtype(value, name);
  if (!is_activation(dtype)) throw Error("ERR_SANA_ARGUMENT", "Expected `%s` to be f32, bf16 or f16", name);
  return dtype;
}

Napi::Uint8Array read_data(Napi::Value value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `data` to be a Uint8Array");
  }
  return value.As<Napi::Uint8Array>();
}

// The common part of pack() and gather() requests: rows of a file, or of host memory if `data` is allowed instead. The
// data is copied.
RowSource read_source(Napi::Object request, const char* rows_name, bool may_be_data) {
  RowSource source;
  const Napi::Value data = may_be_data ? request.Get("data") : request.Env().Undefined();
  if (data.IsUndefined()) {
    source.bytes = FileObject::read(request.Get("file"), "file").file();
    source.offset = read_bytes(request.Get("fileOffset"), "fileOffset");
    source.dtype = read_row_dtype(request.Get("fileDtype"), "fileDtype");
  } else {
    if (!request.Get("file").IsUndefined()) {
      throw Error("ERR_SANA_ARGUMENT", "Expected either `file` or `data`, got both");
    }
    // Copied at once, because a getter of the request could detach the memory.
    const Napi::Uint8Array bytes = read_data(data);
    source.bytes = std::make_shared<HostBytes>(bytes.Data(), bytes.ByteLength());
    source.dtype = read_row_dtype(request.Get("dataDtype"), "dataDtype");
    source.offset = 0;
  }
  source.rows = read_integer(request.Get(rows_name), rows_name, 1, kMostElements);
  source.row_elements = read_integer(request.Get("rowElements"), "rowElements", 1, kMostElements);
  return source;
}

RowTarget read_target(Napi::Object request, const Device& device) {
  RowTarget target;
  target.tensor = read_tensor(read_object(request.Get("target"), "target"));
  target.memory = BufferObject::read(request.Get("buffer"), "buffer").buffer()->memory_on(device);
  return target;
}

}  // namespace

Napi::Object device_info(Napi::Env env, const SanaBackend& backend, uint32_t index, const SanaDeviceInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("backend", backend.name);
  object.Set("index", index);
  object.Set("name", info.name);
  object.Set("path", info.path);
  object.Set("totalBytes", double(info.total_bytes));
  object.Set("freeBytes", double(info.free_bytes));
  object.Set("units", info.units);
  object.Set("problem", info.problem);
  object.Set("defaultDtype", kDTypeNames[info.default_dtype]);
  object.Set("hostMemory", info.host_memory != 0);
  Napi::Object refusals = Napi::Object::New(env);
  for (uint32_t dtype = 0; dtype < kSanaDTypeCount; ++dtype) {
    const SanaRefusal& refusal = info.refusals[dtype];
    if (!refusal.code) continue;
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("code", refusal.code);
    entry.Set("reason", refusal.reason);
    refusals.Set(kDTypeNames[dtype], entry);
  }
  object.Set("refusals", refusals);
  return object;
}

Napi::Function DeviceObject::define(Napi::Env env) {
  using Self = DeviceObject;
  return DefineClass(env, "NativeDevice",
                     {
                         InstanceAccessor("info", &Self::throwing<&Self::info>, nullptr, napi_enumerable),
                         InstanceMethod("memory", &Self::throwing<&Self::memory>),
                         InstanceMethod("resetPeak", &Self::throwing<&Self::reset_peak>),
                         InstanceMethod("allocate", &Self::throwing<&Self::allocate>),
                         InstanceMethod("tensorBytes", &Self::throwing<&Self::tensor_bytes>),
                         InstanceMethod("write", &Self::rejecting<&Self::write>),
                         InstanceMethod("read", &Self::rejecting<&Self::read_memory>),
                         InstanceMethod("pack", &Self::rejecting<&Self::pack_rows>),
                         InstanceMethod("gather", &Self::rejecting<&Self::gather_rows>),
                         InstanceMethod("createProgram", &Self::throwing<&Self::create_program>),
                         InstanceMethod("run", &Self::throwing<&Self::run>),
                         InstanceMethod("ceilings", &Self::rejecting<&Self::ceilings>),
                         InstanceMethod("dispose", &Self::throwing<&Self::dispose>),
                     });
}

Napi::Object DeviceObject::create(Napi::Env, Instance& instance, Napi::Value value) {
  const Napi::Object object = read_object(value, "options");
  const std::string backend = read_text(object.Get("backend"), "backend");
  const auto index = uint32_t(read_integer(object.Get("index"), "index", 0, INT32_MAX));
  std::optional<std::string> path;
  if (const Napi::Value given = object.Get("path"); !given.IsUndefined()) path = read_text(given, "path");
  SanaDeviceOptions options{};
  options.threads = uint32_t(read_integer(object.Get("threads"), "threads", 0, kMostThreads));
  options.path = path ? path->c_str() : nullptr;

  auto device = std::make_shared<Device>(backend_by_name(backend.c_str()), index, options);
  const Napi::Object created = instance.construct(instance.device);
  DeviceObject& self = *Unwrap(created);
  self.device_ = std::move(device);
  self.executor_ = instance.new_executor("sana-device");
  return created;
}

DeviceObject::DeviceObject(const Napi::CallbackInfo& info) : NativeObject(info), instance_(Instance::of(info.Env())) {}

// If the object is collected without dispose(), promises may still be pending, so the remaining work is done first.
DeviceObject::~DeviceObject() {
  if (executor_) executor_->finish();
}

std::shared_ptr<Device> DeviceObject::device() const {
  if (!device_) throw Error("ERR_SANA_DISPOSED", "the device has been disposed of");
  return device_;
}

Napi::Value DeviceObject::info(const Napi::CallbackInfo& info) {
  const auto device = this->device();
  return device_info(info.Env(), device->backend(), device->index(), device->describe());
}

Napi::Value DeviceObject::memory(const Napi::CallbackInfo& info) {
  Napi::Object usage = Napi::Object::New(info.Env());
  usage.Set("bytes", double(device()->bytes()));
  usage.Set("peakBytes", double(device()->peak_bytes()));
  return usage;
}

Napi::Value DeviceObject::reset_peak(const Napi::CallbackInfo& info) {
  device()->reset_peak();
  return info.Env().Undefined();
}

Napi::Value DeviceObject::allocate(const Napi::CallbackInfo& info) {
  return BufferObject::create(info.Env(), *instance_, device(), read_bytes(info[0], "bytes", 1));
}

Napi::Value DeviceObject::tensor_bytes(const Napi::CallbackInfo& info) {
  SanaTensor tensor{};
  tensor.dtype = read_dtype(info[0], "dtype");
  tensor.layout = read_layout(info[1], "layout");
  tensor.rank = read_shape(info[2], "shape", tensor.shape);
  tensor.pitch = columns(tensor);
  check_shape(tensor);
  return Napi::Number::New(info.Env(), double(span_bytes(*device(), tensor)));
}

Napi::Value DeviceObject::write(const Napi::CallbackInfo& info) {
  const auto device = this->device();
  const uint64_t offset = read_bytes(info[1], "offset");
  const Napi::Uint8Array data = read_data(info[2]);
  const uint64_t bytes = data.ByteLength();
  const auto memory = BufferObject::read_range(info[0], *device, offset, bytes);
  const std::shared_ptr<char[]> copy = std::make_unique_for_overwrite<char[]>(bytes);
  if (bytes) std::memcpy(copy.get(), data.Data(), bytes);
  return instance_->submit(*executor_, [memory, offset, copy, bytes](const CancelFlag&) {
    const Device& device = memory->device();
    SanaFailure failure;
    check(device.backend().memory_write(device.handle(), memory->handle(), offset, copy.get(), bytes, &failure),
          failure);
  });
}

Napi::Value DeviceObject::read_memory(const Napi::CallbackInfo& info) {
  const auto device = this->device();
  const uint64_t offset = read_bytes(info[1], "offset");
  const auto bytes = uint64_t(read_integer(info[2], "bytes", 0, kMostBytesAtOnce));
  const auto memory = BufferObject::read_range(info[0], *device, offset, bytes);
  Napi::ArrayBuffer target = instance_->new_array_buffer(info.Env(), bytes);
  auto kept = std::make_shared<Napi::Reference<Napi::ArrayBuffer>>(Napi::Persistent(target));
  return instance_->submit(
      *executor_,
      [memory, offset, data = target.Data(), bytes](const CancelFlag&) {
        const Device& device = memory->device();
        SanaFailure failure;
        check(device.backend().memory_read(device.handle(), memory->handle(), offset, data, bytes, &failure), failure);
      },
      [kept](napi_env) { return kept->Value(); });
}

Napi::Value DeviceObject::pack_rows(const Napi::CallbackInfo& info) {
  const auto device = this->device();
  const Napi::Object request = read_object(info[0], "request");
  const RowSource source = read_source(request, "rows", true);
  const int64_t first_row = read_integer(request.Get("firstRow"), "firstRow", 0, kMostElements);
  RowTarget target = read_target(request, *device);
  check_pack(source, target, first_row);
  auto non_finite = std::make_shared<uint64_t>(0);
  return instance_->submit(
      *executor_,
      [source, target, first_row, non_finite](const CancelFlag& cancel) {
        *non_finite = pack(source, target, first_row, cancel);
      },
      [non_finite](napi_env env) { return Napi::Number::New(env, double(*non_finite)); });
}

Napi::Value DeviceObject::gather_rows(const Napi::CallbackInfo& info) {
  const auto device = this->device();
  const Napi::Object request = read_object(info[0], "request");
  const RowSource source = read_source(request, "fileRows", false);
  const Napi::Array rows = read_array(request.Get("rows"), "rows", 1 << 20);
  std::vector<int64_t> chosen(rows.Length());
  if (chosen.empty()) throw Error("ERR_SANA_ARGUMENT", "Expected `rows` to name at least one row");
  for (uint32_t i = 0; i < chosen.size(); ++i) chosen[i] = read_integer(rows.Get(i), "rows", 0, source.rows - 1);
  RowTarget target = read_target(request, *device);
  check_gather(source, target, int64_t(chosen.size()));
  return instance_->submit(*executor_, [source, target, chosen = std::move(chosen)](const CancelFlag& cancel) {
    gather(source, target, chosen, cancel);
  });
}

Napi::Value DeviceObject::create_program(const Napi::CallbackInfo& info) {
  return ProgramObject::create(info.Env(), *instance_, device(), info[0]);
}

Napi::Value DeviceObject::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto device = this->device();
  bool profile = false;
  if (!info[2].IsUndefined()) profile = read_object(info[2], "options").Get("profile").ToBoolean();
  auto prepared = ProgramObject::read(info[0], "program").program().prepare(*device, info[1]);
  auto milliseconds = std::make_shared<std::vector<double>>(profile ? prepared.call_count : 0);

  auto job = std::make_unique<Job>();
  job->work = [prepared = std::move(prepared), profile, milliseconds](const CancelFlag& cancel) {
    prepared.program->run(prepared.arena.get(), cancel.address(), profile ? milliseconds->data() : nullptr);
  };
  if (profile) {
    job->result = [milliseconds](napi_env env) {
      Napi::Float64Array times = Napi::Float64Array::New(env, milliseconds->size());
      std::copy(milliseconds->begin(), milliseconds->end(), times.Data());
      return times;
    };
  } else {
    job->result = Instance::undefined;
  }
  const std::shared_ptr<CancelFlag> flag = job->cancel;
  Napi::Object run = Napi::Object::New(env);
  run.Set("promise", instance_->submit(*executor_, std::move(job)));
  run.Set("cancel", Napi::Function::New(env, [flag](const Napi::CallbackInfo&) { flag->raise(); }, "cancel"));
  return run;
}

Napi::Value DeviceObject::ceilings(const Napi::CallbackInfo&) {
  device();
  auto ceilings = std::make_shared<SanaCeilings>();
  return instance_->submit(
      *executor_,
      [device = device_, ceilings](const CancelFlag&) {
        SanaFailure failure;
        check(device->backend().device_ceilings(device->handle(), ceilings.get(), &failure), failure);
      },
      [ceilings](napi_env env) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("f32Flops", ceilings->f32_flops);
        object.Set("bf16Flops", ceilings->bf16_flops);
        object.Set("i8Flops", ceilings->i8_flops);
        object.Set("bytesPerSecond", ceilings->bytes_per_second);
        return object;
      });
}

Napi::Value DeviceObject::dispose(const Napi::CallbackInfo& info) {
  if (device_) {
    executor_->stop();
    while (!device_->resources.empty()) (*device_->resources.begin())->dispose();
    device_.reset();
  }
  return info.Env().Undefined();
}

}  // namespace sana
