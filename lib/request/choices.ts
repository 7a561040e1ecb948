/** The words that options with a choice take. */

export const OFFLOADS = ['none', 'text-encoder', 'sequential'] as const;
export const OUTPUT_TYPES = ['image', 'latent'] as const;
export const DECODE_TILINGS = ['auto', 'blend'] as const;
