/**
 * SANA text-to-image for Node, without Python.
 *
 * @module sana-native
 */

import './base/package.ts';

export { SanaError, type SanaErrorCode } from './base/errors.ts';
export { BUILT_IN_MODEL } from './checkpoint/built-in.ts';
export { readVocabulary, type Vocabulary } from './checkpoint/vocabulary.ts';
export { type DeviceInfo, type LibraryInfo, listDevices, listLibraries } from './device/devices.ts';
export { type EncodedFormat, type EncodeOptions, SanaImage } from './image/image.ts';
export { type ImageMetadata, readGenerationMetadata } from './image/metadata.ts';
export { readLatents, writeLatents } from './pipeline/latents-file.ts';
export { SanaPipeline } from './pipeline/pipeline.ts';
export type * from './pipeline/results.ts';
export { DECODE_TILINGS } from './request/choices.ts';
export { LIMITS } from './request/limits.ts';
export type * from './request/types.ts';
export { SCHEDULERS } from './schedulers/index.ts';
export { subjectsIn } from './text/subjects.ts';
