/** The samplers by the names that a caller may pass. */
export const SCHEDULERS = ['flow-dpm-solver', 'flow-euler', 'scm'] as const;
export type SchedulerName = (typeof SCHEDULERS)[number];
