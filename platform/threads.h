// What std::thread leaves to the system; both are of the calling thread.

#pragma once

namespace sana::platform {

void name_thread(const char* name);  // as debuggers and profilers show it; 15 characters at most

// Lets threads of normal priority go first when every processor is busy.
void lower_thread_priority();

}  // namespace sana::platform
