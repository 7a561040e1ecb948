/** A progress bar on standard error, on a terminal only. */

import { environmentVariable } from '../base/environment.ts';
import type { LoadProgress } from '../index.ts';

const CELLS = 24;
const MIN_INTERVAL_MS = 100;

export interface ProgressBar {
  /**
   * `fraction` is from 0 to 1 of what `label` names. The time left is estimated from the first call with this label,
   * unless `detail` replaces it.
   */
  show(label: string, fraction: number, detail?: string): void;
  /** Removes the bar from the terminal. */
  clear(): void;
}

export function progressBar(stream: NodeJS.WriteStream = process.stderr): ProgressBar {
  if (!stream.isTTY) return { show() {}, clear() {} };
  const colour = environmentVariable('NO_COLOR') === undefined;
  let label = '';
  let started = 0;
  let startFraction = 0;
  let shown = 0;
  return {
    show(now, fraction, detail) {
      const time = performance.now();
      if (now !== label) [label, started, startFraction] = [now, time, fraction];
      else if (time - shown < MIN_INTERVAL_MS && fraction < 1) return;
      shown = time;
      const full = Math.round(CELLS * Math.min(1, Math.max(0, fraction)));
      const bar = `${'█'.repeat(full)}${'░'.repeat(CELLS - full)}`;
      const done = fraction - startFraction;
      const left = done > 0 ? `${duration(((time - started) / done) * (1 - fraction))} left` : '';
      const columns = stream.columns || 80; // 0 on a terminal that does not know
      const percent = String(Math.floor(fraction * 100)).padStart(3);
      const line = `${label} ${bar} ${percent} %  ${detail ?? left}`.trimEnd().slice(0, columns - 1);
      stream.write(`\r${colour ? line.replace(bar, `\x1b[36m${bar}\x1b[0m`) : line}\x1b[K`);
    },
    clear() {
      if (label !== '') stream.write('\r\x1b[K');
      label = '';
    },
  };
}

/** Shows the progress of loading: the download with its size and speed, then the weights. */
export function showLoading(progress: ProgressBar, event: LoadProgress): void {
  const { phase, loadedBytes, totalBytes, bytesPerSecond = 0, etaMs } = event;
  const fraction = totalBytes === 0 ? 0 : loadedBytes / totalBytes;
  if (phase !== 'download') {
    progress.show('Loading', fraction);
    return;
  }
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(2);
  const detail = [
    ...(totalBytes === 0 ? [] : [`${gigabytes(loadedBytes)} of ${gigabytes(totalBytes)} GB`]),
    ...(bytesPerSecond === 0 ? [] : [`${(bytesPerSecond / 1e6).toFixed(1)} MB/s`]),
    ...(etaMs === undefined ? [] : [`${duration(etaMs)} left`]),
  ].join(', ');
  progress.show('Downloading', fraction, detail);
}

export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
