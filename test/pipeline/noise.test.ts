import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { TorchGenerator, torchRandn } from '../../lib/pipeline/noise.ts';
import { sanaError } from '../support/errors.ts';

// Drawn by torch.randn(count, generator=torch.Generator('cpu').manual_seed(seed)): seed, count, [index, value]...
const DRAWN: readonly (readonly [
  seed: number | bigint,
  count: number,
  values: readonly (readonly [number, number])[],
])[] = [
  [
    42,
    32768,
    [
      [0, 1.9269152879714966],
      [1, 1.4872840642929077],
      [2, 0.9007171988487244],
      [3, -2.1055209636688232],
      [32748, -0.7466797232627869],
      [32763, -0.24906380474567413],
      [32767, -0.2654117941856384],
    ],
  ],
  [
    0,
    16,
    [
      [0, -1.1258398294448853],
      [7, -2.1152193546295166],
      [8, 0.32227492332458496],
      [15, -0.2472781538963318],
    ],
  ],
  [7, 1, [[0, -0.1467950940132141]]],
  [
    7,
    15,
    [
      [0, -0.1467950940132141],
      [1, 0.7861412763595581],
      [2, 0.9468216300010681],
      [13, 0.2405461221933365],
      [14, 1.3954508304595947],
    ],
  ],
  [
    1,
    2,
    [
      [0, 0.6613521575927734],
      [1, 0.266924113035202],
    ],
  ],
  [
    123456789,
    33,
    [
      [0, 0.2642554044723511],
      [16, -1.4020057916641235],
      [19, 0.016820983961224556],
      [31, 0.3403695821762085],
      [32, -0.5262128710746765],
    ],
  ],
  [
    3,
    47,
    [
      [0, -0.07664429396390915],
      [27, -1.1952342987060547],
      [30, 2.436397075653076],
      [33, 2.2124183177948],
      [46, 1.3544285297393799],
    ],
  ],
  [
    2 ** 32 + 5,
    20,
    [
      [0, 1.8423298597335815],
      [3, -1.7013792991638184],
      [15, 1.7470314502716064],
      [18, -1.1724143028259277],
      [19, -1.5069403648376465],
    ],
  ],
  [
    -3,
    16,
    [
      [0, -0.31222230195999146],
      [1, -0.49657878279685974],
      [2, 0.11182309687137604],
    ],
  ],
  [
    2n ** 64n - 3n,
    16,
    [
      [0, -0.31222230195999146],
      [1, -0.49657878279685974],
    ],
  ],
];

describe('noise', () => {
  for (const [seed, count, values] of DRAWN) {
    it(`seed ${seed} gives the ${count} normals that torch gives`, () => {
      const drawn = torchRandn(seed, count);
      assert.equal(drawn.length, count);
      for (const [i, value] of values)
        assert.ok(Math.abs((drawn[i] ?? NaN) - value) <= 5e-7, `${i}: ${drawn[i]} is not ${value}`);
    });
  }

  it('every element of a large draw is right: its weighted sum is that of torch', () => {
    const weighted = torchRandn(7, 131072).reduce((sum, value, i) => sum + value * (i % 97), 0);
    assert.ok(Math.abs(weighted - -30864.326500645322) < 0.01, String(weighted));
  });

  it('the async draw is the same and lets the event loop go on', async () => {
    const expected = torchRandn(11, 2 ** 21 + 5);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const drawn = await new TorchGenerator(11).draw(2 ** 21 + 5);
    delay.disable();
    assert.deepEqual(drawn, expected);
    assert.ok(delay.percentile(90) < 50e6, `${delay.percentile(90) / 1e6} ms`);
  });

  it('the async draw stops if it is aborted', async () => {
    const reason = new Error('enough');
    await assert.rejects(new TorchGenerator(1).draw(2 ** 22, AbortSignal.abort(reason)), reason);
  });

  it('rejects invalid seeds and counts', () => {
    for (const seed of [0.5, Number.NaN, 2 ** 60, 2n ** 64n, -(2n ** 63n) - 1n]) {
      assert.throws(() => torchRandn(seed, 16), sanaError('ERR_SANA_ARGUMENT', 'seed'));
    }
    for (const count of [-1, 1.5, 2 ** 40])
      assert.throws(() => torchRandn(0, count), sanaError('ERR_SANA_ARGUMENT', 'count'));
    assert.equal(torchRandn(0, 0).length, 0);
  });
});
