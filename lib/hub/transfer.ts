/** The progress of a download of several files, as one number. */

/** What is reported about a download. */
export interface TransferProgress {
  readonly loadedBytes: number; // including what was there before
  readonly totalBytes: number; // 0 while unknown
  readonly bytesPerSecond: number; // over the last seconds; 0 while unknown
  readonly etaMs?: number;
  readonly file?: string; // that the last bytes belong to
}

const WINDOW_MS = 5000;
const REPORT_MS = 100;

export class Transfer {
  readonly #report: ((progress: TransferProgress) => void) | undefined;
  readonly #loaded = new Map<string, number>(); // by file
  #totalBytes = 0;
  #received = 0; // from the network, in total
  #marks: { time: number; received: number }[] = [];
  #reported = Number.NEGATIVE_INFINITY;

  constructor(report: ((progress: TransferProgress) => void) | undefined) {
    this.#report = report;
  }

  /** The total is known from now on. */
  expect(totalBytes: number): void {
    this.#totalBytes = totalBytes;
  }

  /** `bytes` of a file are on disk; `received` of them arrived just now. */
  set(file: string, bytes: number, received = 0): void {
    const before = this.#loaded.get(file) ?? 0;
    this.#loaded.set(file, bytes);
    this.#received += received;
    const time = performance.now();
    const last = this.#marks.at(-1);
    if (last === undefined || time - last.time >= REPORT_MS) this.#marks.push({ time, received: this.#received });
    while (time - (this.#marks[0]?.time ?? time) > WINDOW_MS) this.#marks.shift();
    if (bytes === before || time - this.#reported < REPORT_MS) return;
    this.#reported = time;
    this.report(file);
  }

  /** Reports the current state. */
  report(file?: string): void {
    if (this.#report === undefined) return;
    const loadedBytes = [...this.#loaded.values()].reduce((sum, bytes) => sum + bytes, 0);
    const bytesPerSecond = this.#speed();
    const left = this.#totalBytes - loadedBytes;
    this.#report({
      loadedBytes,
      totalBytes: this.#totalBytes,
      bytesPerSecond,
      ...(this.#totalBytes > 0 && bytesPerSecond > 0 && { etaMs: Math.round((1000 * left) / bytesPerSecond) }),
      ...(file !== undefined && { file }),
    });
  }

  #speed(): number {
    const [first] = this.#marks;
    const ms = first === undefined ? 0 : performance.now() - first.time;
    return first === undefined || ms < REPORT_MS ? 0 : Math.round((1000 * (this.#received - first.received)) / ms);
  }
}
