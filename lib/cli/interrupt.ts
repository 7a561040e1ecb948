/** Ctrl-C: the first one ends the work cleanly, the second one kills the process. */

/** Why work was aborted by the user. */
export class Interrupted extends Error {
  constructor() {
    super('Interrupted');
  }
}

/** Runs work with a signal that the first interrupt aborts. After that, interrupts have their default effect. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = () => controller.abort(new Interrupted());
  process.once('SIGINT', interrupt);
  try {
    return await work(controller.signal);
  } finally {
    process.removeListener('SIGINT', interrupt);
  }
}
