import { positionEmbedding } from '../../lib/networks/position-embedding.ts';
import { assertClose, GoldenFile } from '../support/golden.ts';

describe('positionEmbedding', () => {
  const golden = new GoldenFile('pos_embed');
  for (const name of golden.names) {
    it(`makes ${name} as the reference does`, () => {
      const [, height, width, baseSize, interpolationScale] = (
        /^pos_(\d+)x(\d+)_base(\d+)_scale(\d+)$/.exec(name) ?? []
      ).map(Number);
      const grid = { height: height ?? 0, width: width ?? 0, channels: 64 };
      const table = positionEmbedding({
        ...grid,
        baseSize: baseSize ?? 0,
        interpolationScale: interpolationScale ?? 0,
      });
      const expected = golden.get(name);
      // Of the largest grid every 61st row is recorded.
      const every = Math.ceil(table.length / expected.data.length);
      const rows = Array.from({ length: expected.shape[0] ?? 0 }, (_, i) =>
        table.subarray(i * every * 64, (i * every + 1) * 64),
      );
      assertClose(
        rows.flatMap((row) => [...row]),
        expected.data,
        { maxAbs: 2e-7, relL2: 1e-7 },
        name,
      );
    });
  }
});
