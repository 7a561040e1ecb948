/** What a request would run and hold in memory, stage by stage, found by planning alone. */

import type { Plan } from '../graph/planner.ts';
import { costs } from '../graph/program.ts';
import type { Autoencoder } from '../models/autoencoder.ts';
import type { TextEncoder } from '../models/text-encoder.ts';
import type { Tiling } from '../models/tiling.ts';
import type { Denoiser } from '../models/transformer.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { LoadOptions } from '../request/types.ts';
import type { TextSelection } from '../text/selection.ts';
import type { Explanation } from './results.ts';

interface Stage {
  readonly name: string;
  readonly runs: number;
  readonly plan: Plan;
  /** Weights on the device while it runs. */
  readonly weightsBytes: number;
  /** What outlives its runs: keys and values, latents, pictures. */
  readonly stateBytes: number;
  readonly bandRows?: number | undefined;
  /** The arena is given back after it. */
  readonly freesArena?: boolean;
}

export function explain(given: {
  request: CheckedRequest;
  positive: readonly TextSelection[];
  negative: readonly TextSelection[];
  offload: NonNullable<LoadOptions['offload']>;
  textEncoder: TextEncoder;
  denoiser: Denoiser;
  loraMerge: { readonly plan: Plan; readonly stateBytes: number } | undefined;
  /** Weights of the transformer, and of its ControlNet. */
  denoisingBytes: number;
  autoencoder: Autoencoder;
  /** In 'blend', the reference's tiles. */
  tiling: Tiling | undefined;
  /** What is free, and what the pipeline holds itself. */
  reachableBytes: number;
  workspaceBytes: number;
  model: string;
  device: string;
  devicePath: string;
  dtype: Explanation['dtype'];
}): Explanation {
  const { request, workspaceBytes, model, device, devicePath, dtype } = given;
  // The arena is kept at the largest size that has been needed so far, unless it is given back.
  let arenaBytes = 0;
  const planned = stagesOf(given);
  const stages = planned.map(({ name, runs, plan, weightsBytes, stateBytes, bandRows, freesArena }) => {
    const operators = costs(plan);
    const arenaHeld = Math.max(arenaBytes, plan.arenaBytes);
    arenaBytes = freesArena ? 0 : arenaHeld;
    return {
      name,
      runs,
      operators,
      flops: operators.reduce((sum, { flops }) => sum + flops, 0),
      bytes: operators.reduce((sum, { bytes }) => sum + bytes, 0),
      arenaBytes: plan.arenaBytes,
      peakBytes: weightsBytes + stateBytes + arenaHeld + workspaceBytes,
      ...(bandRows !== undefined && { bandRows }),
    };
  });
  return {
    model,
    device,
    devicePath,
    dtype,
    batch: request.batch,
    width: request.drawnWidth,
    height: request.drawnHeight,
    stages,
    flops: stages.reduce((sum, { flops, runs }) => sum + flops * runs, 0),
    memory: {
      weightsBytes: Math.max(...planned.map((stage) => stage.weightsBytes)),
      stateBytes: Math.max(...planned.map((stage) => stage.stateBytes)),
      arenaBytes: Math.max(...planned.map(({ plan }) => plan.arenaBytes)),
      workspaceBytes,
      peakBytes: Math.max(...stages.map(({ peakBytes }) => peakBytes)),
    },
  };
}

function stagesOf(given: Parameters<typeof explain>[0]): Stage[] {
  const { request, positive, negative, offload, textEncoder, denoiser, loraMerge, denoisingBytes, autoencoder } = given;
  const { height, width } = denoiser.shape;
  const encoders = textEncoder.weightBytes;
  const rest = denoisingBytes + autoencoder.decoderBytes;
  const encoded = picturesOf(given);
  // Without offload it stays once a picture has been encoded.
  const encoder = encoded.length === 0 ? 0 : autoencoder.encoderBytes;
  const kept = offload === 'none' ? encoder : 0;
  const weights = {
    encode: { none: encoders + rest, 'text-encoder': rest, sequential: 0 }[offload] + encoder,
    text: offload === 'sequential' ? encoders : encoders + rest,
    denoise: { none: encoders + rest + kept, 'text-encoder': rest, sequential: denoisingBytes }[offload],
    decode: { none: encoders + rest + kept, 'text-encoder': rest, sequential: autoencoder.decoderBytes }[offload],
  };
  const prefixLength = Math.max(0, ...positive.map((prompt) => prompt.prefixLength));
  const prefixBytes = prefixLength > 0 ? textEncoder.prefixBytes(prefixLength) : 0;
  const generation = prefixBytes + denoiser.stateBytes;
  const besideDecode = offload === 'sequential' ? prefixBytes : generation;
  const toDecode = given.reachableBytes - weights.decode - besideDecode;

  const text = (name: string, { plan, stateBytes }: ReturnType<TextEncoder['plan']>): Stage => {
    return { name, runs: 1, plan, weightsBytes: weights.text, stateBytes: prefixBytes + stateBytes };
  };
  const own = (prompts: readonly TextSelection[]) =>
    prompts.map(({ ids, prefixLength: shared }) => ids.length - shared);
  return [
    ...(prefixLength > 0 ? [text('instruction', textEncoder.planInstruction(prefixLength))] : []),
    text('text_encode', textEncoder.plan(own(positive), prefixLength)),
    ...(negative.length > 0 ? [text('text_encode negative', textEncoder.plan(own(negative), 0))] : []),
    ...encoded.map((stage) => ({
      ...stage,
      weightsBytes: weights.encode,
      stateBytes: prefixBytes + stage.stateBytes,
    })),
    ...(loraMerge === undefined
      ? []
      : [
          {
            name: 'lora_merge',
            runs: 1,
            plan: loraMerge.plan,
            weightsBytes: weights.denoise,
            stateBytes: prefixBytes + loraMerge.stateBytes,
          },
        ]),
    {
      name: 'text_context',
      runs: 1,
      plan: denoiser.contextPlan,
      weightsBytes: weights.denoise,
      stateBytes: generation,
    },
    {
      name: 'denoise_step',
      runs: request.numInferenceSteps - request.firstStep,
      plan: denoiser.stepPlan,
      weightsBytes: weights.denoise,
      stateBytes: generation,
    },
    ...(request.outputType === 'image'
      ? autoencoder.planDecode(height, width, request, toDecode, given.tiling).map((stage) => ({
          ...stage,
          runs: stage.runs * request.batch,
          weightsBytes: weights.decode,
          stateBytes: besideDecode + stage.stateBytes,
        }))
      : []),
  ];
}

/** The pictures that are encoded before the first step: the one to start from, and those that steer a ControlNet. */
function picturesOf({ request, offload, autoencoder }: Parameters<typeof explain>[0]): Omit<Stage, 'weightsBytes'>[] {
  const { image, control, drawnHeight: height, drawnWidth: width } = request;
  const stage = autoencoder.planEncode({ height, width });
  const stages = [
    ...(image === undefined ? [] : [stage]),
    ...(control === undefined ? [] : [{ ...stage, name: 'control_encode', runs: Math.max(1, control.images.length) }]),
  ];
  return stages.map((each, i) => ({ ...each, freesArena: offload === 'sequential' && i === stages.length - 1 }));
}
