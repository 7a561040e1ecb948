// Benchmarks as JSON, one object a line, as lib/bench/record.ts writes them: one reader for both.

#pragma once

#include <string>

#include "test/kernels/compare.h"
#include "test/kernels/options.h"

namespace sana::kernels {

struct Times {
  double median, min, p90, replayed;  // milliseconds; `replayed` in bench.cc
};

struct Measurement {
  Times ms;
  double tflop, gb, floor_ms;
  bool compared;
  Difference error;  // when compared
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
  std::string origin_;  // what every record begins with: where and when
  FILE* file_ = nullptr;
};

}  // namespace sana::kernels
