/** The values of options with a choice. */

export const OFFLOADS = ['none', 'text-encoder', 'sequential'] as const;
export const OUTPUT_TYPES = ['image', 'latent'] as const;
export const DECODE_TILINGS = ['auto', 'blend'] as const;
