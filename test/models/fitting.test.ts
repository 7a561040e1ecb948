import assert from 'node:assert/strict';
import type { DeviceInfo } from '../../lib/index.ts';
import { fitsOf } from '../../lib/models/fitting.ts';

describe('what fits on a device', () => {
  const device = { id: 'cuda:0', name: 'card', path: 'sm_89', units: 60, dtype: 'bfloat16', totalBytes: 0 } as const;
  const of = (repository: string, other: Partial<DeviceInfo>) =>
    fitsOf({ ...device, freeBytes: 0, ...other }).find(({ repositories }) => repositories.includes(repository));

  it('goes by what is free, and names the offload that is needed', () => {
    const name = 'SANA1.5_4.8B_1024px_diffusers';
    assert.equal(of(name, { freeBytes: 24e9 })?.offload, 'none');
    assert.equal(of(name, { freeBytes: 12e9 })?.offload, 'sequential');
    const none = of(name, { freeBytes: 8e9 });
    assert.equal(none?.offload, null);
    assert.ok(none.gigabytes > 9 && none.gigabytes < 10);
  });

  it('takes less in int8, which may not need offload', () => {
    const { offload, gigabytes = 0, int8 } = of('SANA1.5_4.8B_1024px_diffusers', { freeBytes: 12e9 }) ?? {};
    assert.equal(offload, 'sequential');
    assert.equal(int8?.offload, 'none');
    assert.ok(int8.gigabytes > gigabytes && int8.gigabytes < 12, `${int8.gigabytes} GB`);
  });

  it('takes more in float32', () => {
    const [half, whole] = (['bfloat16', 'float32'] as const).map(
      (dtype) => of('Sana_600M_512px_diffusers', { dtype, freeBytes: 1e12 })?.gigabytes ?? 0,
    );
    assert.ok(half !== undefined && whole !== undefined && whole > 1.9 * half && whole < 2.1 * half);
  });
});
