/** A device with less memory than it has. */

import { openDevice } from '../../lib/device/devices.ts';
import { testDevice } from './device.ts';

/** Limits the device that pipelines share to `bytes` in addition to its workspace; returns a function that undoes it. */
export function limitMemory(bytes: number): () => void {
  const lease = openDevice(testDevice);
  const { native } = lease;
  const { info } = native;
  Object.defineProperty(native, 'info', {
    configurable: true,
    get: () => ({ ...info, freeBytes: bytes - (native.memory().bytes - lease.workspaceBytes) }),
  });
  return () => {
    delete (native as { info?: unknown }).info;
    lease.release();
  };
}
