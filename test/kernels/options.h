// The options of the command line.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "test/kernels/case.h"

namespace sana::kernels {

struct Options {
  std::shared_ptr<Device> device;     // under test
  std::shared_ptr<Device> reference;  // the CPU
  std::vector<SanaDType> dtypes;
  std::vector<Case> cases;
  double flops = 0;  // cases, or references of benchmarks, with more work are skipped
  int runs = 20;
  std::string variant;
  std::string json;
};

// Compares every case with the reference. Prints a line for each, and a last line with the totals. Returns whether all
// match.
bool test(const Options&);

// Times every case. Prints a line for each, and one for each group. Returns whether all of them ran.
bool bench(const Options&);

}  // namespace sana::kernels
