/** A generation consists of stages that run in order. Each uses the weights of some models. */

import type { Plan } from '../../graph/planner.ts';
import type { CheckedRequest } from '../../request/request.ts';
import type { ModelName } from '../offload.ts';
import type { CommonParameters } from '../parameters.ts';
import type { Parts } from '../parts.ts';
import type { TokenizedPrompts } from '../prompts.ts';
import type { GenerationStage, StepInfo } from '../results.ts';

/** A request, with everything that is known before its first stage. */
export interface Job {
  readonly parts: Parts;
  readonly request: CheckedRequest<StepInfo>;
  readonly tokens: TokenizedPrompts;
}

/** A job that is run, not only planned. */
export interface RunningJob extends Job {
  /** The record of how its pictures were made. */
  readonly parameters: CommonParameters;
  /** When the call began, in the time of `performance.now()`. */
  readonly started: number;
}

/** A program that a stage runs. */
export interface StageProgram {
  readonly name: string;
  readonly runs: number;
  readonly plan: Plan;
  /** State on the device while it runs, in addition to weights, the arena and the state left by earlier stages. */
  readonly stateBytes: number;
  /** Rows of the picture that are decoded at a time, if it is decoded in bands. */
  readonly bandRows?: number | undefined;
}

export interface Stage {
  readonly name: GenerationStage;
  /** The models that it uses. */
  readonly models: readonly ModelName[];
  /** Whether its intermediates are many times larger than those of later stages. */
  readonly largeArena: boolean;
  /** What it leaves on the device: `lastingBytes` until the end, `generationBytes` as long as the policy keeps them. */
  readonly leaves: { readonly lastingBytes: number; readonly generationBytes: number };
  /** The programs that it runs, in order, if state and intermediates may take up to `freeBytes`. */
  programs(freeBytes: number): readonly StageProgram[];
  /** Runs the stage. Models that it needs are loaded first. */
  run(job: RunningJob): Promise<void>;
  /** Frees the `generationBytes` that it has left on the device. */
  release(): void;
}
