// Thread functions that std::thread lacks. Both affect the calling thread.

#pragma once

namespace sana::platform {

void name_thread(const char* name);  // the name in debuggers and profilers; at most 15 characters

// Threads of normal priority run first when all processors are busy.
void lower_thread_priority();

}  // namespace sana::platform
