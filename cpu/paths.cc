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

bool always() {
  return true;
}

#if SANA_X86
// __builtin_cpu_supports also asks the system (xgetbv) whether it saves the wide registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
         __builtin_cpu_supports("bmi2");
}
#if SANA_EMULATE_AVX512
bool has_avx512() {
  return has_avx2();
}
bool has_avx512_bf16() {
  return has_avx2();
}
#else
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}
bool has_avx512_bf16() {  // VNNI is older: every processor with bf16 has it
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
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
#if SANA_X86
  __builtin_cpu_init();
#endif
  std::string choices;
  for (const Path& path : kPaths) {
    if (!path.supported()) continue;
    if (!forced || !*forced || strcmp(forced, path.name) == 0) return path;
    choices += (choices.empty() ? "" : ", ") + std::string(path.name);
  }
  throw Error("ERR_SANA_DEVICE", "CPU path '%.40s' is not one of those this machine supports: %s", forced,
              choices.c_str());
}

}  // namespace sana::cpu
