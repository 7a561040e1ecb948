// What the command line asks for.

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
  double flops = 0;  // cases, or references of benchmarks, of more work are left out
  int runs = 20;
  std::string variant;
  std::string json;
};

// Whether every case is as the reference says: a line each, and a last line with the sums.
bool test(const Options&);

// Times every case: a line each, and one for each group. Whether all of them ran.
bool bench(const Options&);

}  // namespace sana::kernels
