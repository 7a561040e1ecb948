/**
 * SANA text-to-image for Node: no Python.
 *
 * @module sana-native
 */

import './package.ts';

export { SanaError, type SanaErrorCode } from './errors.ts';
export { type EncodedFormat, type EncodeOptions, SanaImage } from './image/image.ts';
export { type ImageMetadata, readGenerationMetadata } from './image/metadata.ts';
export { readLatents, writeLatents } from './pipeline/latents-file.ts';
export { SanaPipeline } from './pipeline/pipeline.ts';
export { DECODE_TILINGS, LIMITS, SCHEDULERS } from './pipeline/request.ts';
export type * from './pipeline/types.ts';
export { BUILT_IN_MODEL } from './runtime/built-in.ts';
export { type DeviceInfo, type LibraryInfo, listDevices, listLibraries } from './runtime/devices.ts';
export { readVocabulary, type Vocabulary } from './runtime/vocabulary.ts';
export { subjectsIn } from './text/subjects.ts';
