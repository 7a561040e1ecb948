/** GB that these repositories' models need for a picture of their size, by dtype and `offload`. */
export interface ReleasedMemory {
  readonly repositories: readonly string[];
  /** Pixels per side. */
  readonly size: number;
  readonly int8: Needed;
  readonly bfloat16: Needed;
  readonly float32: Needed;
}

export interface Needed {
  readonly none: number;
  readonly sequential: number;
}
