/** What a generation is made of: stages, done in order, each by the weights of some models. */

import type { Plan } from '../../graph/planner.ts';
import type { CheckedRequest } from '../../request/request.ts';
import type { ModelName } from '../offload.ts';
import type { CommonParameters } from '../parameters.ts';
import type { Parts } from '../parts.ts';
import type { TokenizedPrompts } from '../prompts.ts';
import type { StepInfo } from '../results.ts';

/** A request on its way, with what is known before its first stage. */
export interface Job {
  readonly parts: Parts;
  readonly request: CheckedRequest<StepInfo>;
  readonly tokens: TokenizedPrompts;
}

/** A job that is carried out, and not only planned. */
export interface RunningJob extends Job {
  /** What its pictures record of how they were made. */
  readonly parameters: CommonParameters;
  /** When the call began, as of `performance.now()`. */
  readonly started: number;
}

/** A program that a stage runs. */
export interface StageProgram {
  readonly name: string;
  readonly runs: number;
  readonly plan: Plan;
  /** On the device while it runs, beside weights, the arena and what earlier stages have left. */
  readonly stateBytes: number;
  /** Rows of the picture that are decoded at a time, where it is decoded in bands. */
  readonly bandRows?: number | undefined;
}

export type StageName = 'text' | 'pictures' | 'denoise' | 'decode';

export interface Stage {
  readonly name: StageName;
  /** The models that it computes with. */
  readonly models: readonly ModelName[];
  /** Whether its intermediates are many times the size of those of the stages after it. */
  readonly largeArena: boolean;
  /** What it leaves on the device: `lasting` for good, `generation` as long as the policy keeps such memory. */
  readonly leaves: { readonly lastingBytes: number; readonly generationBytes: number };
  /** The programs that it runs, in order, where the last `freeBytes` may be taken by state and intermediates. */
  programs(freeBytes: number): readonly StageProgram[];
  /** Carries it out. Models that are not loaded are loaded. */
  run(job: RunningJob): Promise<void>;
  /** Gives the memory of the generation back that it has left. */
  release(): void;
}
