/** The words that options with a choice take. */

/** The public names of dtypes, which `publicDtype` and `computeDtype` of lib/pipeline map to the models' own. */
export const DTYPES = ['float32', 'bfloat16', 'float16', 'int8', 'fp8'] as const;
export const OFFLOADS = ['none', 'text-encoder', 'sequential'] as const;
export const OUTPUT_TYPES = ['image', 'latent'] as const;
export const DECODE_TILINGS = ['auto', 'blend'] as const;
