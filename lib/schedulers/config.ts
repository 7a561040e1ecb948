/** The configuration of a sampler: `scheduler/scheduler_config.json`, read by lib/checkpoint/configs.ts. */

export interface FlowDpmSolverConfig {
  readonly className: 'DPMSolverMultistepScheduler';
  readonly numTrainTimesteps: number;
  readonly flowShift: number;
  readonly solverOrder: 1 | 2;
  readonly solverType: 'midpoint' | 'heun';
  readonly lowerOrderFinal: boolean;
  readonly eulerAtFinal: boolean;
  readonly finalSigmasType: 'zero' | 'sigma_min';
}

export interface FlowEulerConfig {
  readonly className: 'FlowMatchEulerDiscreteScheduler';
  readonly numTrainTimesteps: number;
  readonly shift: number;
}

export interface ScmConfig {
  readonly className: 'SCMScheduler';
  readonly numTrainTimesteps: number;
  readonly sigmaData: number;
}

/** `scheduler/scheduler_config.json`, by its class. */
export type SchedulerConfig = FlowDpmSolverConfig | FlowEulerConfig | ScmConfig;

export const SCHEDULER_CLASSES = [
  'DPMSolverMultistepScheduler',
  'FlowMatchEulerDiscreteScheduler',
  'SCMScheduler',
] as const satisfies readonly SchedulerConfig['className'][];
