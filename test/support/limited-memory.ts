/** A device with less memory than it has. */

import { openDevice } from '../../lib/device/devices.ts';
import { testDevice } from './device.ts';

/** Lets the device that pipelines share believe that it has `bytes` beside its workspace; returns the way back. */
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
