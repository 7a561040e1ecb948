/** A progress bar on standard error: on a terminal only. */

const CELLS = 24;
const MIN_INTERVAL_MS = 100;

export interface ProgressBar {
  /** `fraction` from 0 to 1 of what `label` says. The time left is reckoned from the first call with this label. */
  show(label: string, fraction: number): void;
  /** Takes the bar off the terminal. */
  clear(): void;
}

export function progressBar(stream: NodeJS.WriteStream = process.stderr): ProgressBar {
  if (!stream.isTTY) return { show() {}, clear() {} };
  const colour = process.env.NO_COLOR === undefined || process.env.NO_COLOR === '';
  let label = '';
  let started = 0;
  let startFraction = 0;
  let shown = 0;
  return {
    show(now, fraction) {
      const time = performance.now();
      if (now !== label) [label, started, startFraction] = [now, time, fraction];
      else if (time - shown < MIN_INTERVAL_MS && fraction < 1) return;
      shown = time;
      const full = Math.round(CELLS * Math.min(1, Math.max(0, fraction)));
      const bar = `${'█'.repeat(full)}${'░'.repeat(CELLS - full)}`;
      const done = fraction - startFraction;
      const left = done > 0 ? `  ${duration(((time - started) / done) * (1 - fraction))} left` : '';
      const columns = stream.columns || 80; // 0 on a terminal that does not know
      const line = `${label} ${bar} ${String(Math.floor(fraction * 100)).padStart(3)} %${left}`.slice(0, columns - 1);
      stream.write(`\r${colour ? line.replace(bar, `\x1b[36m${bar}\x1b[0m`) : line}\x1b[K`);
    },
    clear() {
      if (label !== '') stream.write('\r\x1b[K');
      label = '';
    },
  };
}

export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
