import assert from 'node:assert/strict';
import { sanaNative } from '../support/cli.ts';

const SMALL = ['--model', 'test/fixtures/sana-base', '--dtype', 'float32', '-W', '96', '-H', '64', '--steps', '2'];

describe('sana-native explain', () => {
  it('prints what would run, and with --profile the measured and the least times', async () => {
    const command = ['explain', 'a red fox', ...SMALL, '--no-use-resolution-binning'];
    const { code, stdout, stderr } = await sanaNative([...command, '--json']);
    assert.equal(code, 0, stderr);
    const planned = JSON.parse(stdout.toString());
    const profiled = await sanaNative([...command, '--json', '--profile']);
    assert.equal(profiled.code, 0, profiled.stderr);
    const { ceilings, profile, stages, ...rest } = JSON.parse(profiled.stdout.toString());
    assert.deepEqual({ ...rest, stages: undefined }, { ...planned, stages: undefined });
    const { f32Flops, bytesPerSecond } = ceilings;
    for (const [i, { operators, floorMs, ...stage }] of stages.entries()) {
      let sum = 0;
      for (const [j, { floorMs: least, ...operator }] of operators.entries()) {
        assert.deepEqual(operator, planned.stages[i].operators[j]);
        assert.equal(least, 1000 * Math.max(operator.flops / f32Flops, operator.bytes / bytesPerSecond));
        sum += least;
      }
      assert.ok(Math.abs(floorMs - sum) <= 1e-9 * sum);
      assert.deepEqual({ ...stage, operators: undefined }, { ...planned.stages[i], operators: undefined });
    }
    const steps = profile.filter(({ name }: { name: string }) => name === 'denoise step');
    assert.equal(steps.length, 2);
    for (const { operators } of profile) assert.ok(operators.every(({ ms }: { ms: number }) => ms > 0));
  });

  it('prints tables', async () => {
    const { code, stdout, stderr } = await sanaNative(['explain', 'a red fox', ...SMALL, '--profile']);
    assert.equal(code, 0, stderr);
    assert.match(stdout.toString(), /^denoise_step: 2 times, .*, floor [\d.e-]+ ms$/m);
    assert.match(stdout.toString(), /^denoise step: [\d.]+ ms, \d+ % of the floor [\d.e-]+ ms$/m);
  });
});
