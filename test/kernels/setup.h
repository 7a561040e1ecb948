// A call on a device, ready to run: its operands laid out in one memory, apart from each other, and NaN in between. A
// kernel that uses what it should not read gives NaN; one that writes where it should not is found by comparing.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/device.h"
#include "core/program.h"

namespace sana::kernels {

using Values = std::vector<std::vector<float>>;  // of every operand, row-major; empty: not read

class Setup {
 public:
  // `copies` of the call on memory of their own. `in_place`: the input whose place `out` takes, or -1.
  // Throws ERR_SANA_PROGRAM when the call breaks a contract of the operator table.
  Setup(std::shared_ptr<Device>, SanaCall, const Values&, int copies = 1, int in_place = -1);

  // Makes the memory what it is before a run: inputs as they were, outputs NaN.
  void fill();
  // Runs all copies; `milliseconds`, when not null, receives the time of each.
  void run(double* milliseconds = nullptr);

  // What the first copy's run left.
  struct Result {
    std::vector<std::vector<uint8_t>> bytes;  // of every operand that is written, row-major; empty: it is not
    bool elsewhere;                           // something beside them was written
    bool operator==(const Result&) const = default;
  };
  Result read() const;

 private:
  void place(int in_place);
  void put(const Values&);

  const std::shared_ptr<Device> device_;
  SanaCall call_;                    // of the first copy
  uint64_t packed_ = 0, bytes_ = 0;  // where packed weights begin and a copy ends
  std::vector<uint8_t> image_;       // of a copy before a run
  std::shared_ptr<Memory> memory_;
  std::unique_ptr<CompiledProgram> program_;
  int copies_;
};

// The operands that a call writes.
bool is_output(const SanaCall&, int operand);

std::vector<float> decoded(const std::vector<uint8_t>& bytes, uint32_t dtype);

// The inputs that `out` may overwrite in this call: their indices.
std::vector<int> replaceable(const SanaCall&);

}  // namespace sana::kernels
