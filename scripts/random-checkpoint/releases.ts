/** The released repositories in the diffusers layout: the model in each, and the dtypes of its files. */

import type { ReleasedModel, ReleasedSize } from './configs.ts';
import type { StoredDType } from './gaussian.ts';
import type { Variant } from './writer.ts';

export interface Release {
  /** Owned by Efficient-Large-Model, unless it names another owner. */
  readonly repository: string;
  readonly model: ReleasedModel;
  readonly size: ReleasedSize;
  readonly controlnet?: boolean;
  /** By the variant in their names; `none`: no suffix. */
  readonly dtypes: Partial<Readonly<Record<Variant, StoredDType>>>;
}

const kFp16 = { none: 'F32', fp16: 'F16' } as const; // trained in fp16, to be run in it or with its clip
const kBf16 = { none: 'F32', bf16: 'BF16' } as const;
const kOnlyBf16 = { none: 'BF16' } as const;

export const releases: readonly Release[] = [
  { repository: 'Sana_600M_512px_diffusers', model: '0.6b', size: 512, dtypes: kFp16 },
  { repository: 'Sana_600M_1024px_diffusers', model: '0.6b', size: 1024, dtypes: kFp16 },
  { repository: 'Sana_1600M_512px_diffusers', model: '1.6b', size: 512, dtypes: kFp16 },
  { repository: 'Sana_1600M_512px_MultiLing_diffusers', model: '1.6b', size: 512, dtypes: kFp16 },
  { repository: 'Sana_1600M_1024px_diffusers', model: '1.6b', size: 1024, dtypes: kFp16 },
  { repository: 'Sana_1600M_1024px_MultiLing_diffusers', model: '1.6b', size: 1024, dtypes: kFp16 },
  { repository: 'Sana_1600M_1024px_BF16_diffusers', model: '1.6b', size: 1024, dtypes: kBf16 },
  { repository: 'Sana_1600M_2Kpx_BF16_diffusers', model: '1.6b', size: 2048, dtypes: kBf16 },
  { repository: 'Sana_1600M_4Kpx_BF16_diffusers', model: '1.6b', size: 4096, dtypes: kBf16 },
  { repository: 'SANA1.5_1.6B_1024px_diffusers', model: '1.5-1.6b', size: 1024, dtypes: kOnlyBf16 },
  { repository: 'SANA1.5_4.8B_1024px_diffusers', model: '1.5-4.8b', size: 1024, dtypes: kOnlyBf16 },
  { repository: 'Sana_Sprint_0.6B_1024px_diffusers', model: 'sprint-0.6b', size: 1024, dtypes: kOnlyBf16 },
  { repository: 'Sana_Sprint_1.6B_1024px_diffusers', model: 'sprint-1.6b', size: 1024, dtypes: kOnlyBf16 },
  {
    repository: 'ishan24/Sana_600M_1024px_ControlNet_diffusers',
    model: '0.6b',
    size: 1024,
    controlnet: true,
    dtypes: { fp16: 'F16' },
  },
  {
    repository: 'ishan24/Sana_600M_1024px_ControlNetPlus_diffusers',
    model: '0.6b',
    size: 1024,
    controlnet: true,
    dtypes: { fp16: 'F16' },
  },
];

/** The dtype of a model's files without suffix: f32 for SANA-1.0, bf16 for later models, which have no variants. */
export function unsuffixedDType(model: ReleasedModel): StoredDType {
  return releases.find((release) => release.model === model)?.dtypes.none ?? 'F32';
}

/** Whether files of a variant exist. */
export function hasVariants(model: ReleasedModel): boolean {
  return releases.some(({ model: other, dtypes }) => other === model && Object.keys(dtypes).some((v) => v !== 'none'));
}
