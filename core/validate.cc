#include "core/validate.h"

#include <cstring>
#include <string>

#include "core/contracts.h"
#include "core/device.h"
#include "core/error.h"
#include "core/generated/operators.h"
#include "core/tensor.h"

namespace sana {
namespace {

// Whether `list`, whose entries are separated by '|', contains `name`.
bool lists(const char* list, const char* name) {
  const size_t length = std::strlen(name);
  for (const char* entry = list;;) {
    const size_t entry_length = std::strcspn(entry, "|");
    if (entry_length == length && std::strncmp(entry, name, length) == 0) return true;
    if (entry[entry_length] == 0) return false;
    entry += entry_length + 1;
  }
}

bool is_output(const OperandSpec& spec) {
  return spec.role[0] == 'o' || std::strcmp(spec.role, "inout") == 0;
}

void check_operand(const Device& device, const OperandSpec& spec, const SanaTensor& tensor,
                   std::span<const uint64_t> buffer_bytes) {
  if (tensor.rank == 0) {
    SANA_CHECK(std::strcmp(spec.role, "in?") == 0, "it is missing");
    return;
  }
  SANA_CHECK(tensor.buffer < buffer_bytes.size(), "there is no buffer %lld: the program has %zu",
             static_cast<long long>(tensor.buffer) - 1, buffer_bytes.size() - 1);
  check_tensor(device, tensor, buffer_bytes[tensor.buffer]);
  const std::string text = to_text(tensor);
  SANA_CHECK(spec.dtypes >> tensor.dtype & 1, "%s is not a dtype that it accepts", text.c_str());
  const bool pitched = std::strcmp(spec.layout, "pitched") == 0;
  SANA_CHECK(lists(pitched ? "dense" : spec.layout, kLayoutNames[tensor.layout]), "%s must be laid out as %s",
             text.c_str(), pitched ? "dense" : spec.layout);
  SANA_CHECK(pitched || tensor.pitch == columns(tensor), "%s must be contiguous", text.c_str());
}

// An output may not overlap any other operand, except an input that the operator's row allows it to overwrite.
void check_overlaps(const Device& device, const OperatorSpec& spec, const SanaCall& call) {
  for (int i = 0; spec.operands[i].name; ++i) {
    const SanaTensor& out = call.operands[i];
    if (!is_output(spec.operands[i]) || out.rank == 0) continue;
    for (int j = 0; spec.operands[j].name; ++j) {
      const SanaTensor& other = call.operands[j];
      if (j == i || other.rank == 0 || other.buffer != out.buffer) continue;
      if (lists(spec.in_place, spec.operands[j].name) && same_place(out, other)) continue;
      SANA_CHECK(!overlap(device, out, other), "operand `%s` %s at %llu overlaps `%s` %s at %llu",
                 spec.operands[i].name, to_text(out).c_str(), static_cast<unsigned long long>(out.offset),
                 spec.operands[j].name, to_text(other).c_str(), static_cast<unsigned long long>(other.offset));
    }
  }
}

}  // namespace

void validate(const Device& device, std::span<const SanaCall> calls, std::span<const uint64_t> buffer_bytes) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const SanaCall& call = calls[i];
    const OperatorSpec& spec = kOperators[call.op];
    const char* operand = nullptr;
    try {
      for (int j = 0; spec.operands[j].name; ++j) {
        operand = spec.operands[j].name;
        check_operand(device, spec.operands[j], call.operands[j], buffer_bytes);
      }
      operand = nullptr;
      check_contract(spec, call);
      check_overlaps(device, spec, call);
      device.check_support(call);
    } catch (const Error& error) {
      if (operand) throw Error(error.code(), "operand `%s`: %s", operand, error.what()).in_call(int64_t(i));
      throw error.in_call(int64_t(i));
    }
  }
}

}  // namespace sana
