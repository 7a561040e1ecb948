#include "core/program.h"

#include "core/device.h"
#include "core/error.h"
#include "core/generated/operators.h"
#include "core/validate.h"

namespace sana {
namespace {

constexpr size_t kLongestScope = 200;

std::string shape_text(const SanaTensor& tensor) {
  std::string text;
  for (uint32_t i = 0; i < tensor.rank; ++i) text += (i ? ", " : "[") + std::to_string(tensor.shape[i]);
  return text + "]";
}

// A call without a scope is named by its index, "calls[7]".
std::string name_of(const SanaCall& call, size_t index, const std::string& scope) {
  std::string name = scope.empty() ? "calls[" + std::to_string(index) + "] " : scope.substr(0, kLongestScope) + " > ";
  name += kOperators[call.op].name;
  if (const SanaTensor& first = call.operands[0]; first.rank) name += " " + shape_text(first);
  for (const SanaTensor& operand : call.operands) {
    if (operand.rank && operand.layout != kSanaDense) name += " x " + shape_text(operand);
  }
  return name;
}

}  // namespace

CompiledProgram::CompiledProgram(std::shared_ptr<Device> device, std::span<const SanaCall> calls,
                                 std::span<const std::string> scopes, std::span<const std::shared_ptr<Memory>> memories,
                                 uint64_t arena_bytes)
    : device_(std::move(device)) {
  for (size_t i = 0; i < calls.size(); ++i) names_.push_back(name_of(calls[i], i, i < scopes.size() ? scopes[i] : ""));
  std::vector<SanaMemory*> buffers{nullptr};  // the arena is passed to each run
  std::vector<uint64_t> bytes{arena_bytes};
  for (const auto& memory : memories) {
    buffers.push_back(memory->handle());
    bytes.push_back(memory->bytes());
  }
  try {
    validate(*device_, calls, bytes);
    SanaFailure failure;
    check(device_->backend().program_create(device_->handle(), calls.data(), static_cast<uint32_t>(calls.size()),
                                            buffers.data(), static_cast<uint32_t>(buffers.size()), &handle_, &failure),
          failure);
  } catch (const Error& error) {
    throw located(error);
  }
}

CompiledProgram::~CompiledProgram() {
  device_->backend().program_destroy(device_->handle(), handle_);
}

void CompiledProgram::run(const Memory* arena, const volatile int32_t* cancel, double* milliseconds) const {
  SanaFailure failure;
  const int status = device_->backend().program_run(device_->handle(), handle_, arena ? arena->handle() : nullptr,
                                                    cancel, milliseconds, &failure);
  try {
    check(status, failure);
  } catch (const Error& error) {
    throw located(error);
  }
}

Error CompiledProgram::located(const Error& error) const {
  const int32_t first = error.first_call(), last = error.last_call();
  if (first < 0 || first > last || static_cast<size_t>(last) >= names_.size()) return error;
  const std::string& name = names_[static_cast<size_t>(first)];
  if (first == last) return Error(error.code(), "%s: %s", name.c_str(), error.what());
  return Error(error.code(), "between %s and %s: %s", name.c_str(), names_[static_cast<size_t>(last)].c_str(),
               error.what());
}

}  // namespace sana
