#include "binding/program.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/generated/operators.h"

namespace sana {
namespace {

constexpr uint32_t kMostCalls = 1 << 16;
constexpr uint32_t kMostBuffers = 1 << 16;

struct Description {
  std::vector<SanaCall> calls;
  std::vector<std::string> scopes;                // one per call
  std::vector<std::unique_ptr<int64_t[]>> lists;  // the storage of the calls' lists
  std::vector<std::shared_ptr<Buffer>> buffers;
  uint64_t arena_bytes;
};

uint32_t read_operator(Napi::Value value) {
  const std::string name = read_text(value, "op");
  for (uint32_t i = 0; i < kOperatorCount; ++i) {
    if (name == kOperators[i].name) return i;
  }
  throw Error("ERR_SANA_PROGRAM", "there is no operator '%.40s'", name.c_str());
}

// Throws unless `known` accepts the name of every property of `object`.
template <class Known>
void check_names(Napi::Object object, const char* what, Known known) {
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).ToString().Utf8Value();
    if (!known(name.c_str())) throw Error("ERR_SANA_PROGRAM", "it has no %s `%.40s`", what, name.c_str());
  }
}

void read_operands(Napi::Object operands, const OperatorSpec& spec, SanaCall& call) {
  check_names(operands, "operand", [&](const char* name) {
    for (int i = 0; spec.operands[i].name; ++i) {
      if (std::strcmp(spec.operands[i].name, name) == 0) return true;
    }
    return false;
  });
  for (int i = 0; spec.operands[i].name; ++i) {
    const char* name = spec.operands[i].name;
    try {
      const Napi::Value value = operands.Get(name);
      if (value.IsUndefined()) continue;  // validate() checks whether it may be absent
      const Napi::Object operand = read_object(value, name);
      call.operands[i] = read_tensor(operand);
      call.operands[i].buffer = uint32_t(read_integer(operand.Get("buffer"), "buffer", -1, kMostBuffers) + 1);
    } catch (const Error& error) {
      throw Error(error.code(), "operand `%s`: %s", name, error.what());
    }
  }
}

void read_attribute(Napi::Value value, const AttributeSpec& spec, SanaCall& call, double& attribute,
                    Description& description) {
  if (std::strcmp(spec.kind, "number") == 0) {
    attribute = read_number(value, spec.name);
  } else if (std::strcmp(spec.kind, "integer") == 0) {
    attribute = double(read_integer(value, spec.name, INT32_MIN, INT32_MAX));
  } else if (std::strcmp(spec.kind, "list") == 0) {
    const Napi::Array values = read_array(value, spec.name, kSanaMaxList);
    const uint32_t length = values.Length();
    auto list = std::make_unique<int64_t[]>(length + 1);
    for (uint32_t i = 0; i < length; ++i) list[i] = read_integer(values.Get(i), spec.name, 0, INT32_MAX);
    call.list = list.get();
    call.list_length = length;
    description.lists.push_back(std::move(list));
  } else {
    attribute = read_choice(value, spec.name, spec.kind);
  }
}

SanaCall read_call(Napi::Object object, Description& description) {
  SanaCall call{};
  call.op = read_operator(object.Get("op"));
  const OperatorSpec& spec = kOperators[call.op];
  try {
    read_operands(read_object(object.Get("operands"), "operands"), spec, call);
    const Napi::Object attributes = read_object(object.Get("attributes"), "attributes");
    check_names(attributes, "attribute", [&](const char* name) {
      for (int i = 0; spec.attributes[i].name; ++i) {
        if (std::strcmp(spec.attributes[i].name, name) == 0) return true;
      }
      return false;
    });
    for (int i = 0; spec.attributes[i].name; ++i) {
      read_attribute(attributes.Get(spec.attributes[i].name), spec.attributes[i], call, call.attributes[i],
                     description);
    }
  } catch (const Error& error) {
    throw Error(error.code(), "%s: %s", spec.name, error.what());
  }
  return call;
}

Description read_description(Napi::Object object, const Device& device) {
  Description description;
  description.arena_bytes = read_bytes(object.Get("arenaBytes"), "arenaBytes");
  const Napi::Array buffers = read_array(object.Get("buffers"), "buffers", kMostBuffers);
  for (uint32_t i = 0; i < buffers.Length(); ++i) {
    const std::shared_ptr<Buffer>& buffer = BufferObject::read(buffers.Get(i), "buffers").buffer();
    buffer->memory_on(device);
    description.buffers.push_back(buffer);
  }
  // A buffer that is listed twice would hide overlapping operands.
  auto sorted = description.buffers;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `buffers` to contain each buffer once");
  }

  const Napi::Array calls = read_array(object.Get("calls"), "calls", kMostCalls);
  for (uint32_t i = 0; i < calls.Length(); ++i) {
    Napi::HandleScope scope(object.Env());
    try {
      const Napi::Object call = read_object(calls.Get(i), "calls");
      const Napi::Value scope = call.Get("scope");
      description.scopes.push_back(scope.IsUndefined() ? "" : read_text(scope, "scope"));
      description.calls.push_back(read_call(call, description));
    } catch (const Error& error) {
      throw Error(error.code(), "calls[%u] %s", i, error.what());
    }
  }
  return description;
}

}  // namespace

Program::Program(std::shared_ptr<Device> device, Napi::Object object) : Resource(device) {
  Description description = read_description(object, *device);
  // Reading the description ran the caller's getters, which may have disposed of objects: check only now.
  std::vector<std::shared_ptr<Memory>> memories;
  for (const auto& buffer : description.buffers) memories.push_back(buffer->memory());
  if (!on(*device)) throw Error("ERR_SANA_DISPOSED", "the device has been disposed of");
  compiled_ = std::make_shared<CompiledProgram>(device, description.calls, description.scopes, memories,
                                                description.arena_bytes);
  buffers_ = std::move(description.buffers);
  arena_bytes_ = description.arena_bytes;
  call_count_ = description.calls.size();
}

void Program::release() {
  compiled_.reset();
  buffers_.clear();
}

Program::Prepared Program::prepare(const Device& device, Napi::Value arena) const {
  if (!compiled_) throw Error("ERR_SANA_DISPOSED", "the program has been disposed of");
  if (!on(device)) throw Error("ERR_SANA_ARGUMENT", "Expected `program` to belong to this device");
  Prepared prepared{compiled_, nullptr, {}, call_count_};
  for (const auto& buffer : buffers_) prepared.memories.push_back(buffer->memory());
  if (!arena.IsNull() && !arena.IsUndefined()) {
    prepared.arena = BufferObject::read(arena, "arena").buffer()->memory_on(device);
    if (std::find(prepared.memories.begin(), prepared.memories.end(), prepared.arena) != prepared.memories.end()) {
      throw Error("ERR_SANA_ARGUMENT", "Expected `arena` not to be another buffer of the program");
    }
  }
  const uint64_t bytes = prepared.arena ? prepared.arena->bytes() : 0;
  if (bytes < arena_bytes_) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `arena` to have at least %llu bytes, got %llu",
                static_cast<unsigned long long>(arena_bytes_), static_cast<unsigned long long>(bytes));
  }
  return prepared;
}

Napi::Function ProgramObject::define(Napi::Env env) {
  return DefineClass(env, "NativeProgram",
                     {InstanceMethod("dispose", &ProgramObject::throwing<&ProgramObject::dispose>)});
}

Napi::Object ProgramObject::create(Napi::Env env, Instance& instance, std::shared_ptr<Device> device,
                                   Napi::Value description) {
  auto program = std::make_unique<Program>(std::move(device), read_object(description, "description"));
  Napi::Object object = instance.construct(instance.program);
  object.DefineProperty(Napi::PropertyDescriptor::Value(
      "arenaBytes", Napi::Number::New(env, double(program->arena_bytes())), napi_enumerable));
  Unwrap(object)->program_ = std::move(program);
  return object;
}

ProgramObject::ProgramObject(const Napi::CallbackInfo& info) : NativeObject(info) {}

Napi::Value ProgramObject::dispose(const Napi::CallbackInfo& info) {
  program_->dispose();
  return info.Env().Undefined();
}

}  // namespace sana
