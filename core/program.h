// A program on a device: validated and compiled by the backend. Errors in one of its calls say where in the model the
// call is.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"

namespace sana {

class Device;
class Error;
class Memory;

class CompiledProgram {
 public:
  // `memories` are buffers 1.. of the program; they must be distinct. `scopes` has for each call the part of the model
  // that recorded it, such as "block 7 > attn1", or is empty. Throws ERR_SANA_PROGRAM, or the device's error for an
  // unsupported call.
  CompiledProgram(std::shared_ptr<Device>, std::span<const SanaCall> calls, std::span<const std::string> scopes,
                  std::span<const std::shared_ptr<Memory>> memories, uint64_t arena_bytes);
  ~CompiledProgram();
  CompiledProgram(const CompiledProgram&) = delete;
  CompiledProgram& operator=(const CompiledProgram&) = delete;

  // Called on the device's executor. `arena` may be null if the program needs none; `cancel` and `milliseconds` are as
  // in SanaBackend::program_run.
  void run(const Memory* arena, const volatile int32_t* cancel, double* milliseconds) const;

 private:
  Error located(const Error&) const;  // prefixes the names of the failed calls

  const std::shared_ptr<Device> device_;
  std::vector<std::string> names_;  // one per call: "block 7 > attn1 > linear [2, 256, 1152] x [3456, 1152]"
  SanaProgram* handle_ = nullptr;
};

}  // namespace sana
