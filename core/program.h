// A program on a device: validated, compiled by the backend, and the place where an error in one of its calls is told
// by where the call is in the model.

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
  // `memories` are buffers 1.. of the program, distinct. `scopes` says of each call which part of the model recorded
  // it, "block 7 > attn1", or is empty. Throws ERR_SANA_PROGRAM, or what the device refuses.
  CompiledProgram(std::shared_ptr<Device>, std::span<const SanaCall> calls, std::span<const std::string> scopes,
                  std::span<const std::shared_ptr<Memory>> memories, uint64_t arena_bytes);
  ~CompiledProgram();
  CompiledProgram(const CompiledProgram&) = delete;
  CompiledProgram& operator=(const CompiledProgram&) = delete;

  // On the device's executor. `arena` may be null when the program needs none; `cancel` and `milliseconds` are as in
  // SanaBackend::program_run.
  void run(const Memory* arena, const volatile int32_t* cancel, double* milliseconds) const;

 private:
  Error located(const Error&) const;  // with the names of the calls that it is about

  const std::shared_ptr<Device> device_;
  std::vector<std::string> names_;  // of the calls: "block 7 > attn1 > linear [2, 256, 1152] x [3456, 1152]"
  SanaProgram* handle_ = nullptr;
};

}  // namespace sana
