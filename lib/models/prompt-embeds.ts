/** Embeddings of one prompt: its real tokens only. */
export interface PromptEmbeds {
  readonly tokens: number; // T
  readonly channels: number; // C
  readonly data: Float32Array; // [T, C]
}
