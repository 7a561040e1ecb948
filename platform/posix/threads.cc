#include "platform/threads.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sana::platform {

void name_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

// Nice 5. Two threads computing on two processors, which other work kept busy as well: p99 of the event loop's delay
// was 10 to 12 ms at equal priority, 5 to 8 ms so, and no better at 10 or 19; idle it was 2 to 4 ms.
void lower_thread_priority() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 5);
}

}  // namespace sana::platform
