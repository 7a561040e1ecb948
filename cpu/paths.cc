#include "cpu/paths.h"

#include <string.h>

#include <string>

#include "core/error.h"

namespace sana::cpu {

namespace portable {
extern const Kernel kKernels[];
double run_peak_f32(Workers&);
double run_peak_bf16(Workers&);
double run_peak_i8(Workers&);
}  // namespace portable
#if SANA_X86
namespace avx2 {
extern const Kernel kKernels[];
double run_peak_f32(Workers&);
double run_peak_bf16(Workers&);
double run_peak_i8(Workers&);
}  // namespace avx2
namespace avx512 {
extern const Kernel kKernels[];
double run_peak_f32(Workers&);
double run_peak_bf16(Workers&);
double run_peak_i8(Workers&);
}  // namespace avx512
namespace avx512bf16 {
extern const Kernel kKernels[];
double run_peak_f32(Workers&);
double run_peak_bf16(Workers&);
double run_peak_i8(Workers&);
}  // namespace avx512bf16
#endif

namespace {

using platform::ProcessorFeatures;

bool always(const ProcessorFeatures&) {
  return true;
}

#if SANA_X86
bool has_avx2(const ProcessorFeatures& has) {
  return has.avx2;
}
#if SANA_EMULATE_AVX512
bool has_avx512(const ProcessorFeatures& has) {
  return has.avx2;
}
bool has_avx512_bf16(const ProcessorFeatures& has) {
  return has.avx2;
}
#else
bool has_avx512(const ProcessorFeatures& has) {
  return has.avx512;
}
bool has_avx512_bf16(const ProcessorFeatures& has) {
  return has.avx512_bf16;
}
#endif
#endif

constexpr Path kPaths[] = {
// best first
#if SANA_X86
    {"avx512-bf16", avx512bf16::kKernels, avx512bf16::run_peak_f32, avx512bf16::run_peak_bf16, avx512bf16::run_peak_i8,
     has_avx512_bf16, true},
    {"avx512", avx512::kKernels, avx512::run_peak_f32, avx512::run_peak_bf16, avx512::run_peak_i8, has_avx512, false},
    {"avx2", avx2::kKernels, avx2::run_peak_f32, avx2::run_peak_bf16, avx2::run_peak_i8, has_avx2, false},
#endif
    {"portable", portable::kKernels, portable::run_peak_f32, portable::run_peak_bf16, portable::run_peak_i8, always,
     false},
};

}  // namespace

const Path& choose_path(const char* forced) {
  const ProcessorFeatures features = platform::processor_features();
  std::string choices;
  for (const Path& path : kPaths) {
    if (!path.supported(features)) continue;
    if (!forced || !*forced || strcmp(forced, path.name) == 0) return path;
    choices += (choices.empty() ? "" : ", ") + std::string(path.name);
  }
  throw Error("ERR_SANA_DEVICE", "CPU path '%.40s' is not one of those this machine supports: %s", forced,
              choices.c_str());
}

}  // namespace sana::cpu
