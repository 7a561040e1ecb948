// Benchmark results as JSON, one object per line, in the format of lib/bench/record.ts, so that one reader handles
// both.

#pragma once

#include <string>

#include "test/kernels/compare.h"
#include "test/kernels/options.h"

namespace sana::kernels {

struct Times {
  double median, min, p90, replayed;  // milliseconds; `replayed`: see bench.cc
};

struct Measurement {
  Times ms;
  double tflop, gb, floor_ms;
  bool compared;
  Difference error;  // if compared
};

// Appends to a file, if the options name one.
class Records {
 public:
  explicit Records(const Options&);
  ~Records();
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;

  void append(const Case&, SanaDType, const Measurement&, int warm_up);

 private:
  const Options& options_;
  std::string origin_;  // the beginning of every record: where and when
  FILE* file_ = nullptr;
};

}  // namespace sana::kernels
