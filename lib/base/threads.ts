/** The maximum number of threads of the CPU device. The addon checks the same limit, because anyone may call it. */
export const MAX_THREADS = 1024;
