/**
 * SANA text-to-image for Node: no Python.
 *
 * @packageDocumentation
 */

export { SanaError, type SanaErrorCode } from './errors.ts';
export { type EncodedFormat, type EncodeOptions, SanaImage } from './image/image.ts';
export { type ImageMetadata, readGenerationMetadata } from './image/metadata.ts';
export { SanaPipeline } from './pipeline/pipeline.ts';
export type * from './pipeline/types.ts';
export { type DeviceInfo, listDevices } from './runtime/devices.ts';
