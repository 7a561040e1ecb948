/** What is on the device before, during and after each stage of a generation, according to the `offload` policy. */

import { isPreloaded, type ModelName } from './offload.ts';
import type { Parts } from './parts.ts';
import type { Stage } from './stages/stage.ts';

/** What is on the device when a stage runs for the first time. */
export interface Residency {
  readonly stage: Stage;
  /** All weights on the device, including the stage's own. */
  readonly weightsBytes: number;
  /** The state that earlier stages have left. */
  readonly stateBytes: number;
  /** Whether the arena is freed after it. */
  readonly freesArena: boolean;
}

/** What will be on the device for each stage of a generation. */
export function residencies({ models, policy }: Parts, stages: readonly Stage[]): Residency[] {
  const bytesOf = (name: ModelName) => models.find((model) => model.name === name)?.bytes ?? 0;
  const held = new Set(models.map(({ name }) => name).filter((name) => isPreloaded(name, policy)));
  let stateBytes = 0;
  return stages.map((stage, i) => {
    for (const name of stage.models) held.add(name);
    const weightsBytes = [...held].reduce((sum, name) => sum + bytesOf(name), 0);
    const residency = { stage, weightsBytes, stateBytes, freesArena: freesArena(stage, policy) };
    for (const name of released(stage, stages.slice(i + 1), policy)) held.delete(name);
    const { lastingBytes, generationBytes } = stage.leaves;
    stateBytes += lastingBytes + (policy.generationMemory === 'stage' ? 0 : generationBytes);
    return residency;
  });
}

/** Frees what the policy does not keep after a stage. `later`: the stages after it. */
export function leave({ models, policy, engine }: Parts, stage: Stage, later: readonly Stage[]): void {
  const names = released(stage, later, policy);
  for (const model of models) if (names.includes(model.name)) model.release();
  if (policy.generationMemory === 'stage') stage.release();
  if (freesArena(stage, policy)) engine.arena.dispose();
}

function released(stage: Stage, later: readonly Stage[], policy: Parts['policy']): readonly ModelName[] {
  return stage.models.filter((name) => !policy.keeps(name) && !later.some(({ models }) => models.includes(name)));
}

function freesArena({ largeArena }: Stage, { generationMemory }: Parts['policy']): boolean {
  return largeArena && generationMemory === 'stage';
}
