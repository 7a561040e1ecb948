// JavaScript's program objects: read from their description, validated, compiled by the backend.

#pragma once

#include <memory>
#include <vector>

#include "binding/buffer.h"
#include "binding/native_object.h"
#include "core/device.h"
#include "core/program.h"

namespace sana {

class Program final : public Resource {
 public:
  Program(std::shared_ptr<Device>, Napi::Object description);  // ERR_SANA_PROGRAM, ERR_SANA_ARGUMENT
  ~Program() { dispose(); }

  uint64_t arena_bytes() const { return arena_bytes_; }

  // The resources of a run, kept alive until it ends.
  struct Prepared {
    std::shared_ptr<CompiledProgram> program;
    std::shared_ptr<Memory> arena;  // null if the program needs none
    std::vector<std::shared_ptr<Memory>> memories;
    size_t call_count;
  };
  // Checks that nothing it uses has been disposed of and that the arena, a buffer or null, is large enough.
  Prepared prepare(const Device&, Napi::Value arena) const;

 private:
  void release() override;

  std::shared_ptr<CompiledProgram> compiled_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
  uint64_t arena_bytes_ = 0;
  size_t call_count_ = 0;
};

class ProgramObject : public NativeObject<ProgramObject> {
 public:
  static constexpr napi_type_tag kTag = {0x73616e6170726f67, 0x72616d0000000003};
  static constexpr const char* kName = "program";
  static Napi::Function define(Napi::Env);
  static Napi::Object create(Napi::Env, Instance&, std::shared_ptr<Device>, Napi::Value description);

  explicit ProgramObject(const Napi::CallbackInfo&);

  const Program& program() const { return *program_; }

 private:
  Napi::Value dispose(const Napi::CallbackInfo&);

  std::unique_ptr<Program> program_;
};

}  // namespace sana
