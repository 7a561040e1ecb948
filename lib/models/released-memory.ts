/**
 * The least memory that the released models need for one picture of the size they were trained at, in GB (1e9 bytes):
 * with bands where decoding all at once needs more, beside Node. Written by `npx tsx scripts/model-memory.ts --write`.
 */

import type { ReleasedMemory } from './memory-needed.ts';

export const RELEASED_MEMORY: readonly ReleasedMemory[] = [
  {
    repositories: ['Sana_600M_512px_diffusers'],
    size: 512,
    int8: { none: 5.16, sequential: 4.08 },
    bfloat16: { none: 5.65, sequential: 4.08 },
    float32: { none: 11.29, sequential: 8.16 },
  },
  {
    repositories: ['Sana_600M_1024px_diffusers'],
    size: 1024,
    int8: { none: 5.28, sequential: 4.08 },
    bfloat16: { none: 5.78, sequential: 4.08 },
    float32: { none: 11.54, sequential: 8.16 },
  },
  {
    repositories: ['Sana_1600M_512px_diffusers', 'Sana_1600M_512px_MultiLing_diffusers'],
    size: 512,
    int8: { none: 6.33, sequential: 4.08 },
    bfloat16: { none: 7.68, sequential: 4.08 },
    float32: { none: 15.34, sequential: 8.16 },
  },
  {
    repositories: [
      'Sana_1600M_1024px_diffusers',
      'Sana_1600M_1024px_MultiLing_diffusers',
      'Sana_1600M_1024px_BF16_diffusers',
    ],
    size: 1024,
    int8: { none: 6.46, sequential: 4.08 },
    bfloat16: { none: 7.81, sequential: 4.08 },
    float32: { none: 15.59, sequential: 8.16 },
  },
  {
    repositories: ['Sana_1600M_2Kpx_BF16_diffusers'],
    size: 2048,
    int8: { none: 7.01, sequential: 4.08 },
    bfloat16: { none: 8.36, sequential: 4.08 },
    float32: { none: 16.65, sequential: 8.16 },
  },
  {
    repositories: ['Sana_1600M_4Kpx_BF16_diffusers'],
    size: 4096,
    int8: { none: 9.18, sequential: 4.08 },
    bfloat16: { none: 10.53, sequential: 4.64 },
    float32: { none: 20.83, sequential: 9.11 },
  },
  {
    repositories: ['SANA1.5_1.6B_1024px_diffusers'],
    size: 1024,
    int8: { none: 6.46, sequential: 4.08 },
    bfloat16: { none: 7.81, sequential: 4.08 },
    float32: { none: 15.6, sequential: 8.16 },
  },
  {
    repositories: ['SANA1.5_4.8B_1024px_diffusers'],
    size: 1024,
    int8: { none: 10.01, sequential: 5.52 },
    bfloat16: { none: 14.06, sequential: 9.57 },
    float32: { none: 28.07, sequential: 19.1 },
  },
  {
    repositories: ['Sana_Sprint_0.6B_1024px_diffusers'],
    size: 1024,
    int8: { none: 5.29, sequential: 4.08 },
    bfloat16: { none: 5.79, sequential: 4.08 },
    float32: { none: 11.55, sequential: 8.16 },
  },
  {
    repositories: ['Sana_Sprint_1.6B_1024px_diffusers'],
    size: 1024,
    int8: { none: 6.47, sequential: 4.08 },
    bfloat16: { none: 7.82, sequential: 4.08 },
    float32: { none: 15.62, sequential: 8.16 },
  },
];
