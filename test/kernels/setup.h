// A call on a device, ready to run. Its operands are in one memory, separated by NaN. A kernel that uses elements that
// it should not read gives NaN; one that writes outside its outputs is found by comparing.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/device.h"
#include "core/program.h"

namespace sana::kernels {

using Values = std::vector<std::vector<float>>;  // one per operand, row-major; empty if it is not read

class Setup {
 public:
  // Makes `copies` copies of the call, each with its own memory. `in_place`: the input that `out` overwrites, or -1.
  // Throws ERR_SANA_PROGRAM if the call breaks a contract of the operator table.
  Setup(std::shared_ptr<Device>, SanaCall, const Values&, int copies = 1, int in_place = -1);

  // Restores the memory to its state before a run: inputs have their values, outputs are NaN.
  void fill();
  // Runs all copies; `milliseconds`, if not null, receives the time of each.
  void run(double* milliseconds = nullptr);

  // The result of the first copy's run.
  struct Result {
    std::vector<std::vector<uint8_t>> bytes;  // one per operand, row-major; empty if it is not written
    bool elsewhere;                           // whether memory outside the outputs was written
    bool operator==(const Result&) const = default;
  };
  Result read() const;

 private:
  void place(int in_place);
  void put(const Values&);

  const std::shared_ptr<Device> device_;
  SanaCall call_;                    // the first copy's
  uint64_t packed_ = 0, bytes_ = 0;  // the offsets of the packed weights and of the end of a copy
  std::vector<uint8_t> image_;       // the memory of a copy before a run
  std::shared_ptr<Memory> memory_;
  std::unique_ptr<CompiledProgram> program_;
  int copies_;
};

// The operands that a call writes.
bool is_output(const SanaCall&, int operand);

std::vector<float> decoded(const std::vector<uint8_t>& bytes, uint32_t dtype);

// The indices of the inputs that `out` may overwrite in this call.
std::vector<int> replaceable(const SanaCall&);

}  // namespace sana::kernels
