#include "platform/threads.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sana::platform {

void name_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

// Nice 5. Measured with two threads computing on two processors that were also busy with other work: p99 of the event
// loop's delay was 10 to 12 ms at equal priority, 5 to 8 ms at nice 5, and no better at 10 or 19. On idle processors it
// was 2 to 4 ms.
void lower_thread_priority() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 5);
}

}  // namespace sana::platform
