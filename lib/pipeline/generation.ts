/** Running one request: its stages, one after another. */

import { SanaError } from '../base/errors.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { inLatentOrder } from './latent-order.ts';
import type { CommonParameters } from './parameters.ts';
import type { Parts } from './parts.ts';
import { tokenize } from './prompts.ts';
import { leave } from './residency.ts';
import type { GenerateResult, GenerationStage, StepInfo } from './results.ts';
import { type Stages, stagesOf } from './stages/index.ts';
import type { Job } from './stages/stage.ts';

/** Checked when the request's turn comes: a call that it waited for may have loaded adapters. */
export function checkLoraScale({ transformer }: Parts, { loraScale }: Pick<CheckedRequest, 'loraScale'>): void {
  if (loraScale === undefined || transformer.adapters.length > 0) return;
  throw new SanaError('ERR_SANA_ARGUMENT', '`loraScale` cannot be used here: no LoRA adapter is loaded', {
    hint: 'Load one with loadLora, or leave `loraScale` out.',
  });
}

export async function generate(
  parts: Parts,
  tokenizer: Tokenizer,
  request: CheckedRequest<StepInfo>,
  parameters: CommonParameters,
): Promise<GenerateResult> {
  const started = performance.now();
  const { signal } = request;
  checkLoraScale(parts, request);
  const { device } = parts.engine;
  device.resetPeak();
  const tokens = await tokenize(tokenizer, request);
  signal?.throwIfAborted();

  const job = { parts, request, tokens, parameters, started };
  const stages = stagesOf(job);
  const finished = new Map<GenerationStage, number>();
  let before = started;
  for (const [i, stage] of stages.list.entries()) {
    if (stage === stages.denoise) demandMemory(job, stages);
    await stage.run(job);
    leave(parts, stage, stages.list.slice(i + 1));
    const now = performance.now();
    finished.set(stage.name, now - before);
    before = now;
  }
  const { denoise, decode } = stages;
  const milliseconds = (name: GenerationStage) => finished.get(name) ?? 0;
  return {
    images: decode?.images ?? [],
    ...(decode === undefined && {
      latents: inLatentOrder(denoise.shape, parts.transformer.config.inChannels).channelsFirst(denoise.latents),
    }),
    seeds: request.seeds,
    timings: {
      textMs: milliseconds('text'),
      imageMs: milliseconds('pictures'),
      denoiseMs: milliseconds('denoise'),
      stepMs: denoise.stepMs,
      decodeMs: milliseconds('decode'),
      totalMs: before - started,
    },
    memory: { peakBytes: device.memory().peakBytes },
  };
}

/** Fails before the first step if the steps or decoding will not fit in memory. */
function demandMemory({ parts, request }: Job, { denoise, decode }: Stages): void {
  const { engine, policy, autoencoder } = parts;
  const { denoiser } = denoise;
  parts.keepDenoiser(denoiser); // a previous one of another shape is no longer needed
  // What will be allocated by the time a picture is decoded, but is not yet.
  const decoderBytes = autoencoder.decoder.loaded ? 0 : autoencoder.decoder.weightBytes;
  const generationBytes = policy.generationMemory === 'stage' ? 0 : denoiser.unallocatedBytes;
  const decoding = decode?.programs(engine.spareBytes - decoderBytes - generationBytes) ?? [];
  const plans = [denoiser.contextPlan, denoiser.stepPlan, ...decoding.map(({ plan }) => plan)];
  const arenaBytes = Math.max(...plans.map((plan) => plan.arenaBytes));
  const growth = Math.max(0, arenaBytes - engine.arena.bytes);
  // If the device computes in host memory, that memory also holds the finished pictures.
  const inHostMemory = engine.device.info.hostMemory && decode !== undefined;
  const pictureBytes = inHostMemory ? request.batch * request.width * request.height * 3 : 0;
  engine.demandMemory(
    growth + denoiser.unallocatedBytes + Math.max(0, ...decoding.map(({ stateBytes }) => stateBytes)) + pictureBytes,
    `Drawing ${request.batch} image(s) of ${request.drawnWidth} x ${request.drawnHeight}`,
    'Request a smaller size or fewer images at once, or free memory.',
  );
}
