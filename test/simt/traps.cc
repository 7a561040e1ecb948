#include "test/simt/traps.h"

#if defined(__SANITIZE_ADDRESS__)

namespace simt {
Traps::Traps() {}
Traps::~Traps() {}
}  // namespace simt

#else

#include <signal.h>
#include <ucontext.h>

#include <string>

#include "test/simt/scheduler.h"
#include "test/simt/source.h"

namespace simt {
namespace {

thread_local bool runs_kernels = false;
struct sigaction before;  // the previous handler: node has one

void handle(int signal, siginfo_t* info, void* state) {
  if (runs_kernels && context.fiber) {
    const auto code = static_cast<const ucontext_t*>(state)->uc_mcontext.gregs[REG_RIP];
    const std::string line = line_of(reinterpret_cast<const void*>(code));
    abandon_launch("a wild or misaligned address" + (line.empty() ? "" : " at " + line) + ": thread " +
                   std::to_string(context.fiber->linear) + " of block " + std::to_string(context.block_linear));
  }
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, info, state);
  } else {
    sigaction(signal, &before, nullptr);  // the fault happens again and goes to the previous handler
  }
}

}  // namespace

// The handler does not return but switches stacks, so the signal must not stay blocked.
Traps::Traps() {
  runs_kernels = true;
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &before);
}

Traps::~Traps() {
  sigaction(SIGSEGV, &before, nullptr);
  runs_kernels = false;
}

}  // namespace simt

#endif
