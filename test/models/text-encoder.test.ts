import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { testDevice } from '../support/device.ts';
import { assertClose, errorOf, fixtures, GoldenFile, tolerances } from '../support/golden.ts';

interface TextCase {
  readonly case: string;
  readonly prompts: string[];
  readonly complex_human_instruction: string[] | null;
  readonly max_sequence_length: number;
  readonly valid: number[];
}

const golden = new GoldenFile('text');
const cases: TextCase[] = JSON.parse(readFileSync(join(fixtures, 'golden/text_cases.json'), 'utf8'));
const channels = 64;

describe('text encoding against the reference', () => {
  let pipe: SanaPipeline;
  before(async () => {
    pipe = await SanaPipeline.fromPretrained(join(fixtures, 'sana-base'), { dtype: 'float32', device: testDevice });
  });
  after(() => pipe.dispose());

  async function encode(prompts: string[], instruction: string[] | null, maxSequenceLength: number, using = pipe) {
    return await using.textEncoder.encode({ prompt: prompts, complexHumanInstruction: instruction, maxSequenceLength });
  }

  for (const { case: name, prompts, complex_human_instruction, max_sequence_length, valid } of cases) {
    if (valid === undefined) continue;
    it(`${name}: the embeddings of every real token, and their number`, async () => {
      const { embeds, mask } = await encode(prompts, complex_human_instruction, max_sequence_length);
      const expected = golden.get(`${name}.prompt_embeds_valid`);
      const [, n = 0] = expected.shape;
      assert.deepEqual(embeds.shape, expected.shape);
      prompts.forEach((_, p) => {
        const rows = valid[p] ?? 0;
        const kept = [...mask.data.subarray(p * n, (p + 1) * n)];
        assert.deepEqual(
          kept,
          kept.map((_, token) => (token < rows ? 1 : 0)),
        );
        const from = p * n * channels;
        const to = from + rows * channels;
        assertClose(
          embeds.data.subarray(from, to),
          expected.data.subarray(from, to),
          tolerances.textEncoder,
          `prompt ${p}`,
        );
      });
    });
  }

  it('negative prompts: no instruction, the plain limit', async () => {
    const expected = golden.get('negative.embeds_valid'); // [2, 4, 64]: two copies of one prompt
    const { embeds } = await encode([golden.metadata.negative_prompt ?? ''], null, 300);
    assertClose(embeds.data, expected.data.slice(0, embeds.data.length), tolerances.textEncoder);
  });

  it('several prompts with several images: each image gets its own prompt’s tokens (the reference mixes the masks)', async () => {
    const nipp2 = cases.find(({ case: name }) => name === 'nipp2') ?? assert.fail();
    const alone = await Promise.all(nipp2.prompts.map((prompt) => encode([prompt], null, 64)));
    const tokens = alone.map(({ mask }) => mask.data.length);
    const referenceMask = golden.get('nipp2.prompt_attention_mask').data;
    const kept = (row: number) => referenceMask.slice(row * 64, (row + 1) * 64).reduce((a, b) => a + b, 0);
    // The reference's rows are [p0, p0, p1, p1] with masks of [m0, m1, m0, m1]: rows 1 and 2 are wrong there.
    assert.deepEqual([kept(0), kept(1), kept(2), kept(3)], [tokens[0], tokens[1], tokens[0], tokens[1]]);
    const request = {
      width: 256,
      height: 256,
      useResolutionBinning: false,
      numInferenceSteps: 1,
      maxSequenceLength: 64,
      complexHumanInstruction: null,
      outputType: 'latent',
    } as const;
    const together = await pipe.generate({
      ...request,
      prompt: nipp2.prompts,
      numImagesPerPrompt: 2,
      seed: [1, 2, 3, 4],
    });
    const size = 32 * 8 * 8;
    for (const [image, prompt] of [0, 0, 1, 1].entries()) {
      const single = await pipe.generate({ ...request, prompt: nipp2.prompts[prompt] ?? '', seed: image + 1 });
      assert.deepEqual(single.latents?.data, together.latents?.data.slice(image * size, (image + 1) * size));
    }
  });

  it('in bfloat16 stays within three times the reference’s own error', async () => {
    const folder = join(fixtures, 'sana-base-bf16');
    await using bf16 = await SanaPipeline.fromPretrained(folder, {
      dtype: 'bfloat16',
      variant: 'bf16',
      device: testDevice,
    });
    const short = cases.find(({ case: name }) => name === 'short_chi') ?? assert.fail();
    const { embeds } = await encode(short.prompts, short.complex_human_instruction, 300, bf16);
    const expected = golden.get('short_chi.prompt_embeds_valid').data;
    const reference = errorOf(golden.get('short_chi.prompt_embeds_valid_bf16run').data, expected).relL2;
    const { relL2 } = errorOf(embeds.data, expected);
    assert(relL2 <= 3 * reference, `rel_l2 ${relL2}, the reference in bf16 ${reference}`);
  });
});
