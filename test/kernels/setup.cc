#include "test/kernels/setup.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/generated/operators.h"
#include "core/tensor.h"
#include "test/kernels/case.h"
#include "test/kernels/values.h"

namespace sana::kernels {
namespace {

constexpr uint64_t kAlignment = 64;         // of every operand's first row, as in programs
constexpr uint64_t kGuard = 1024;           // bytes of NaN between operands
constexpr uint32_t kSentinel = 0x7fc17fc1;  // NaN as f32, and as two bf16 or f16

uint64_t aligned(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

bool is_packed(const SanaTensor& tensor) {
  return tensor.rank && tensor.layout != kSanaDense;
}

int operand_named(const SanaCall& call, const std::string& name) {
  const OperandSpec* const operands = kOperators[call.op].operands;
  for (int i = 0; operands[i].name; ++i) {
    if (name == operands[i].name) return i;
  }
  return -1;
}

// Calls body(bytes from the start of the memory, bytes from the start of the row-major operand, bytes) for every row.
template <class Body>
void each_row(const SanaTensor& tensor, Body body) {
  const uint64_t size = element_bytes(tensor.dtype), width = static_cast<uint64_t>(columns(tensor)) * size;
  for (int64_t row = 0; row < rows(tensor); ++row) {
    body(tensor.offset + static_cast<uint64_t>(row * tensor.pitch) * size, static_cast<uint64_t>(row) * width, width);
  }
}

}  // namespace

Setup::Setup(std::shared_ptr<Device> device, SanaCall call, const Values& values, int copies, int in_place)
    : device_(std::move(device)), call_(call), copies_(copies) {
  place(in_place);
  std::vector<SanaCall> calls;
  for (int copy = 0; copy < copies; ++copy) {
    calls.push_back(call_);
    for (SanaTensor& tensor : calls.back().operands) tensor.offset += static_cast<uint64_t>(copy) * bytes_;
  }
  memory_ = std::make_shared<Memory>(device_, bytes_ * static_cast<uint64_t>(copies));
  program_ =
      std::make_unique<CompiledProgram>(device_, calls, std::span<const std::string>(), std::span(&memory_, 1), 0);
  put(values);
  fill();
}

// Every operand has a separate place. Packed ones are last, because they must be surrounded by zeros.
void Setup::place(int in_place) {
  const int out = operand_named(call_, "out");
  uint64_t end = kGuard;
  for (int i = 0; i < kSanaMaxOperands; ++i) {
    SanaTensor& tensor = call_.operands[i];
    if (!tensor.rank || is_packed(tensor) || (i == out && in_place >= 0)) continue;
    const uint64_t span = span_bytes(*device_, tensor);
    tensor.offset += end;
    end = aligned(tensor.offset + span + kGuard);
  }
  if (in_place >= 0) call_.operands[out] = call_.operands[in_place];
  packed_ = end;
  for (SanaTensor& tensor : call_.operands) {
    if (!is_packed(tensor)) continue;
    check_shape(tensor);
    tensor.offset = end;
    end = aligned(end + span_bytes(*device_, tensor));
  }
  bytes_ = end;
}

// Packs weights into the first copy and adds them to the image.
void Setup::put(const Values& values) {
  const SanaBackend& backend = device_->backend();
  SanaFailure failure;
  image_.resize(bytes_);
  for (uint64_t at = 0; at < packed_; at += sizeof kSentinel) std::memcpy(&image_[at], &kSentinel, sizeof kSentinel);
  for (size_t i = 0; i < values.size(); ++i) {
    const SanaTensor& tensor = call_.operands[i];
    if (values[i].empty()) continue;
    if (is_packed(tensor)) {
      uint64_t non_finite = 0;
      check(backend.pack(device_->handle(), memory_->handle(), &tensor, 0, tensor.shape[0], values[i].data(), kSanaF32,
                         &non_finite, &failure),
            failure);
    } else {
      const uint64_t size = element_bytes(tensor.dtype);
      each_row(tensor, [&](uint64_t at, uint64_t from, uint64_t bytes) {
        for (uint64_t j = 0; j < bytes; j += size) encode(values[i][(from + j) / size], tensor.dtype, &image_[at + j]);
      });
    }
  }
  check(backend.memory_read(device_->handle(), memory_->handle(), packed_, image_.data() + packed_, bytes_ - packed_,
                            &failure),
        failure);
}

void Setup::fill() {
  SanaFailure failure;
  for (int copy = 0; copy < copies_; ++copy) {
    check(device_->backend().memory_write(device_->handle(), memory_->handle(), static_cast<uint64_t>(copy) * bytes_,
                                          image_.data(), bytes_, &failure),
          failure);
  }
}

void Setup::run(double* milliseconds) {
  static const volatile int32_t kNever = 0;
  program_->run(nullptr, &kNever, milliseconds);
}

Setup::Result Setup::read() const {
  SanaFailure failure;
  std::vector<uint8_t> after(bytes_);
  check(device_->backend().memory_read(device_->handle(), memory_->handle(), 0, after.data(), bytes_, &failure),
        failure);
  Result result;
  for (int i = 0; i < kSanaMaxOperands; ++i) {
    std::vector<uint8_t>& dense = result.bytes.emplace_back();
    const SanaTensor& tensor = call_.operands[i];
    if (!is_output(call_, i)) continue;
    dense.resize(static_cast<uint64_t>(elements(tensor)) * element_bytes(tensor.dtype));
    each_row(tensor, [&](uint64_t at, uint64_t from, uint64_t bytes) { std::memcpy(&dense[from], &after[at], bytes); });
  }
  for (int i = 0; i < kSanaMaxOperands; ++i) {
    if (!is_output(call_, i)) continue;
    each_row(call_.operands[i],
             [&](uint64_t at, uint64_t, uint64_t bytes) { std::memcpy(&after[at], &image_[at], bytes); });
  }
  result.elsewhere = after != image_;
  return result;
}

bool is_output(const SanaCall& call, int operand) {
  const OperandSpec* const operands = kOperators[call.op].operands;
  return call.operands[operand].rank &&
         (!std::strcmp(operands[operand].role, "out") || !std::strcmp(operands[operand].role, "inout"));
}

std::vector<float> decoded(const std::vector<uint8_t>& bytes, uint32_t dtype) {
  const size_t size = element_bytes(dtype);
  std::vector<float> values(bytes.size() / size);
  for (size_t i = 0; i < values.size(); ++i) values[i] = decode(&bytes[i * size], dtype);
  return values;
}

std::vector<int> replaceable(const SanaCall& call) {
  std::vector<int> inputs;
  const std::string names = kOperators[call.op].in_place;
  if (names.empty()) return inputs;
  const SanaTensor& out = call.operands[operand_named(call, "out")];
  for (const std::string& name : split(names, '|')) {
    const int input = operand_named(call, name);
    if (call.operands[input].rank && same_place(call.operands[input], out)) inputs.push_back(input);
  }
  return inputs;
}

}  // namespace sana::kernels
