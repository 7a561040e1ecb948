// Shows that the emulation computes the same results as a device, that correct kernels have no findings in any order of
// threads, and that each build finds the bugs that it claims to find. Every run is a separate process, because a
// sanitizer ends it.

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "test/simt/checker.h"
#include "test/simt/selftest/cases.h"

namespace simt::selftest {
namespace {

#if defined(SIMT_CHECKED)
constexpr bool kChecked = true;
#else
constexpr bool kChecked = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr int kOrders = 3;  // orders of threads, one device each

struct Outcome {
  enum { kRight, kWrong, kReported, kEnded } kind;
  std::string report;
};

template <class Run>
Outcome in_a_process(int device, const Run& run) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    dup2(ends[1], STDERR_FILENO);
    int status = Outcome::kRight;
    try {
      cudaStream_t stream;
      SANA_CUDA(cudaSetDevice(device));
      SANA_CUDA(cudaStreamCreateWithFlags(&stream, 0));
      if (!run(stream)) status = Outcome::kWrong;
    } catch (const sana::Error& error) {
      std::fprintf(stderr, "%s", error.what());
      status = Outcome::kReported;
    }
    std::fflush(nullptr);
    _exit(100 + status);
  }
  close(ends[1]);
  Outcome outcome;
  char text[4096];
  for (ssize_t count; (count = read(ends[0], text, sizeof text)) > 0;) outcome.report.append(text, size_t(count));
  close(ends[0]);
  int status;
  waitpid(child, &status, 0);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) - 100 : -1;
  outcome.kind = code == Outcome::kRight      ? Outcome::kRight
                 : code == Outcome::kWrong    ? Outcome::kWrong
                 : code == Outcome::kReported ? Outcome::kReported
                                              : Outcome::kEnded;
  return outcome;
}

int failures = 0;

void expect(bool held, const char* name, const std::string& what) {
  if (held) return;
  ++failures;
  std::printf("FAILED  %s: %s\n", name, what.c_str());
}

void check_clean(const char* name, int device, const Outcome& outcome) {
  const char* const how[] = {"right", "wrong", "reported", "ended"};
  expect(outcome.kind == Outcome::kRight, name,
         "device " + std::to_string(device) + " " + how[outcome.kind] + " " + outcome.report);
}

void check_planted(const Planted& planted) {
  bool wrong = false, told = true, ended = true;
  std::string report, untold;
  for (int device = 0; device < kOrders; ++device) {
    check_clean((std::string(planted.name) + ", without the bug").c_str(), device,
                in_a_process(device, [&](cudaStream_t stream) { return planted.run(false, stream); }));
    const Outcome outcome = in_a_process(device, [&](cudaStream_t stream) { return planted.run(true, stream); });
    wrong |= outcome.kind != Outcome::kRight;
    told &= outcome.kind == Outcome::kReported && planted.checked &&
            outcome.report.find(planted.checked) != std::string::npos;
    ended &= outcome.kind == Outcome::kEnded && (outcome.report.find("AddressSanitizer") != std::string::npos ||
                                                 outcome.report.find("runtime error") != std::string::npos);
    if (!told && untold.empty()) untold = "device " + std::to_string(device) + ": " + outcome.report;
    if (!outcome.report.empty()) report = outcome.report;
  }
  if (planted.by_result) expect(wrong, planted.name, "every order of threads gives the right result");
  if (kChecked && planted.checked)
    expect(told, planted.name, std::string("not found: ") + planted.checked + "\n" + untold);
  if (kSanitized && planted.sanitized) expect(ended, planted.name, "not found by the sanitizers\n" + report);
  const char* const finder = kChecked && told ? "checker" : kSanitized && ended ? "sanitizer" : wrong ? "result" : "-";
  std::printf("%-50s %-10s %s\n", planted.name, finder, kChecked ? report.substr(0, 240).c_str() : "");
}

void measure() {
  cudaStream_t stream;
  SANA_CUDA(cudaSetDevice(0));
  SANA_CUDA(cudaStreamCreateWithFlags(&stream, 0));
  run_many_accesses(1 << 20, stream);
  const size_t before = checker::accesses();
  const auto start = std::chrono::steady_clock::now();
  run_many_accesses(1 << 24, stream);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%.1f million accesses looked at in %.2f s: %.1f million a second\n",
              static_cast<double>(checker::accesses() - before) / 1e6, seconds,
              static_cast<double>(checker::accesses() - before) / 1e6 / seconds);
}

int run() {
  setenv("SIMT_QUIET", "1", 1);
  size_t instructions = 0, bugs = 0;
  for (const auto* list : {&kInstructions, &kHopperInstructions}) {
    for (const Instruction& instruction : *list) {
      for (int device = 0; device < kOrders; ++device) {
        check_clean(instruction.name, device, in_a_process(device, instruction.run));
      }
    }
    instructions += list->size();
  }
  for (const auto* list : {&kPlanted, &kHopperPlanted}) {
    for (const Planted& planted : *list) check_planted(planted);
    bugs += list->size();
  }
  if (kChecked) measure();
  std::printf("%zu instructions, %zu planted bugs: %d failures\n", instructions, bugs, failures);
  return failures ? 1 : 0;
}

}  // namespace
}  // namespace simt::selftest

int main() {
  return simt::selftest::run();
}
