/** How many threads the CPU device may have. The addon has the same bound, as it takes numbers from any caller. */
export const MAX_THREADS = 1024;
