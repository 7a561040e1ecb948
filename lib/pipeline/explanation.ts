/** What a request would run and keep in memory, stage by stage, computed by planning only. */

import { publicDtype } from '../base/dtypes.ts';
import { costs } from '../graph/program.ts';
import { nameOf } from './parameters.ts';
import { residencies } from './residency.ts';
import type { ExplainedStage, Explanation } from './results.ts';
import { stagesOf } from './stages/index.ts';
import type { Job } from './stages/stage.ts';

/** `reachableBytes`: free memory, plus what the pipeline already holds of what the request needs. */
export function explain(job: Job, reachableBytes?: number): Explanation {
  const { parts, request } = job;
  const { engine, checkpoint, dtype } = parts;
  const { workspaceBytes } = engine;
  const stages = stagesOf(job).list;
  const names = stages.flatMap(({ models }) => models);
  const reachable = reachableBytes ?? engine.spareBytes + parts.heldBytes(names);
  // The arena stays at the largest size that was needed so far, unless it is freed.
  let arenaHeld = 0;
  const explained: (ExplainedStage & { readonly weightsBytes: number; readonly stateBytes: number })[] = [];
  for (const { stage, weightsBytes, stateBytes: left, freesArena } of residencies(parts, stages)) {
    for (const { name, runs, plan, stateBytes: own, bandRows } of stage.programs(reachable - weightsBytes - left)) {
      const operators = costs(plan);
      const stateBytes = left + own;
      arenaHeld = Math.max(arenaHeld, plan.arenaBytes);
      explained.push({
        name,
        stage: stage.name,
        runs,
        operators,
        flops: operators.reduce((sum, { flops }) => sum + flops, 0),
        bytes: operators.reduce((sum, { bytes }) => sum + bytes, 0),
        arenaBytes: plan.arenaBytes,
        peakBytes: weightsBytes + stateBytes + arenaHeld + workspaceBytes,
        ...(bandRows !== undefined && { bandRows }),
        weightsBytes,
        stateBytes,
      });
    }
    if (freesArena) arenaHeld = 0;
  }
  const most = (of: (stage: (typeof explained)[number]) => number) => Math.max(...explained.map(of));
  return {
    model: nameOf(checkpoint),
    device: engine.deviceId,
    devicePath: engine.device.info.path,
    dtype: publicDtype(dtype),
    batch: request.batch,
    width: request.drawnWidth,
    height: request.drawnHeight,
    stages: explained.map(({ weightsBytes, stateBytes, ...program }) => program),
    flops: explained.reduce((sum, { flops, runs }) => sum + flops * runs, 0),
    memory: {
      weightsBytes: most((stage) => stage.weightsBytes),
      stateBytes: most((stage) => stage.stateBytes),
      arenaBytes: most((stage) => stage.arenaBytes),
      workspaceBytes,
      peakBytes: most((stage) => stage.peakBytes),
    },
  };
}
