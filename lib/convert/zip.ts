/**
 * The directory of a zip file of stored entries, such as `torch.save` writes: where the bytes of each entry are.
 *
 * A zip file says everything twice, in a header before each entry and in a directory at its end, and programs that rely
 * on one or the other see different files. This one requires both to agree, no two entries may share a name or a byte,
 * and the records at the end must follow one another without a gap, up to the last byte. Sizes above 4 GB are taken
 * from the zip64 records (APPNOTE.TXT 4.3 to 4.5). Checksums are not verified: torch can be told not to compute them,
 * and they do not protect against intent.
 */

import { describeJson } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import type { NativeFile } from '../device/native.ts';

/** One entry, by the position of its bytes. */
export interface ZipEntry {
  readonly name: string;
  readonly offset: number; // bytes from the start of the file
  readonly bytes: number;
}

const MAX_ENTRIES = 100_000; // the largest release has 1400
const MAX_DIRECTORY_BYTES = 32 * 1024 * 1024;
const MAX_NAME_BYTES = 1024;

const END_BYTES = 22;
const LOCATOR_BYTES = 20;
const ZIP64_END_BYTES = 56;
const DIRECTORY_BYTES = 46; // of an entry in the directory, before its name
const LOCAL_BYTES = 30; // of the header before an entry, before its name
const SATURATED = 0xffffffff; // the real value is in a zip64 record

/** Flags that change nothing for a stored entry: compression level, sizes after the data, names in UTF-8. */
const HARMLESS_FLAGS = 0x0806 | 0x0008;
const SIZES_FOLLOW = 0x0008;

/** Whether a file that starts with these bytes is a zip file. */
export function looksLikeZip(start: Uint8Array): boolean {
  return start[0] === 0x50 && start[1] === 0x4b && start[2] === 0x03 && start[3] === 0x04;
}

/** Reads and checks the directory of a zip file and the header of every entry. */
export async function readZipDirectory(file: NativeFile): Promise<Map<string, ZipEntry>> {
  const { start, bytes, entries } = await findDirectory(file);
  const view = new DataView(await file.read(start, bytes));
  const found: DirectoryEntry[] = [];
  let at = 0;
  for (let i = 0; i < entries; i++) {
    const entry = parseDirectoryEntry(view, at, file.path);
    at = entry.end;
    found.push(entry);
  }
  if (at !== bytes) throw modelError(file.path, `the zip directory has ${bytes - at} bytes after its last entry`);

  const byName = new Map<string, ZipEntry>();
  found.sort((a, b) => a.local - b.local);
  let end = 0; // of the entry before
  for (const entry of found) {
    const { name } = entry;
    if (entry.local < end)
      throw modelError(file.path, `the zip entry ${describeJson(name)} overlaps the one before it`);
    const offset = await checkLocalHeader(file, entry, start);
    end = offset + entry.bytes;
    if (end > start) throw modelError(file.path, `the zip entry ${describeJson(name)} extends into the directory`);
    if (byName.has(name)) throw modelError(file.path, `the zip entry ${describeJson(name)} appears twice`);
    byName.set(name, { name, offset, bytes: entry.bytes });
  }
  return byName;
}

/** The position of the directory, from the records at the end of the file. */
async function findDirectory(file: NativeFile): Promise<{ start: number; bytes: number; entries: number }> {
  const { path } = file;
  const tailBytes = Math.min(file.bytes, ZIP64_END_BYTES + LOCATOR_BYTES + END_BYTES);
  const tailStart = file.bytes - tailBytes;
  const tail = new DataView(await file.read(tailStart, tailBytes));
  const end = tailBytes - END_BYTES;
  // A comment would follow this record. torch writes none, and a file that is truncated or has extra bytes ends
  // differently.
  if (end < 0 || tail.getUint32(end, true) !== 0x06054b50 || tail.getUint16(end + 20, true) !== 0) {
    throw modelError(path, 'does not end like a zip file: it is truncated, or something was added to it');
  }
  let directory = {
    entries: tail.getUint16(end + 10, true),
    bytes: tail.getUint32(end + 12, true),
    start: tail.getUint32(end + 16, true),
  };
  const disks = tail.getUint32(end + 4, true);
  let inParts = disks !== 0 || tail.getUint16(end + 8, true) !== directory.entries; // entries in this part
  let last = tailStart + end; // where the directory must end

  const locator = end - LOCATOR_BYTES;
  const zip64 = locator - ZIP64_END_BYTES;
  if (zip64 >= 0 && tail.getUint32(locator, true) === 0x07064b50) {
    const pointed = readUint64(tail, locator + 8);
    const rest = readUint64(tail, zip64 + 4); // bytes of the record after this field
    if (tail.getUint32(zip64, true) !== 0x06064b50 || pointed !== tailStart + zip64 || rest !== ZIP64_END_BYTES - 12) {
      throw modelError(path, 'the zip64 record at its end is damaged');
    }
    const large = {
      entries: readUint64(tail, zip64 + 32),
      bytes: readUint64(tail, zip64 + 40),
      start: readUint64(tail, zip64 + 48),
    };
    const agrees =
      (directory.entries === large.entries || directory.entries === 0xffff) &&
      (directory.bytes === large.bytes || directory.bytes === SATURATED) &&
      (directory.start === large.start || directory.start === SATURATED);
    if (!agrees) throw modelError(path, 'its two zip end records contradict each other');
    directory = large;
    last = tailStart + zip64;
    inParts ||= readUint64(tail, zip64 + 24) !== large.entries;
  }
  if (inParts) {
    throw modelError(path, 'is one part of a zip file in several parts');
  }
  if (directory.entries > MAX_ENTRIES || directory.bytes > MAX_DIRECTORY_BYTES) {
    throw modelError(path, `claims ${directory.entries} zip entries: at most ${MAX_ENTRIES} are read`);
  }
  if (directory.start + directory.bytes !== last || directory.bytes < directory.entries * DIRECTORY_BYTES) {
    throw modelError(path, 'the zip directory is not where the end of the file says: the file is truncated or damaged');
  }
  return directory;
}

interface DirectoryEntry {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  readonly flags: number;
  readonly bytes: number;
  readonly local: number; // where its header is
  readonly end: number; // where the next entry of the directory is
}

function parseDirectoryEntry(view: DataView, at: number, path: string): DirectoryEntry {
  if (at + DIRECTORY_BYTES > view.byteLength || view.getUint32(at, true) !== 0x02014b50) {
    throw modelError(path, 'the zip directory is damaged');
  }
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const nameLength = view.getUint16(at + 28, true);
  const extraLength = view.getUint16(at + 30, true);
  const end = at + DIRECTORY_BYTES + nameLength + extraLength + view.getUint16(at + 32, true);
  if (end > view.byteLength || nameLength === 0 || nameLength > MAX_NAME_BYTES) {
    throw modelError(path, 'the zip directory is damaged');
  }
  const nameBytes = new Uint8Array(view.buffer, view.byteOffset + at + DIRECTORY_BYTES, nameLength);
  const name = decodeName(nameBytes, path);
  if (method !== 0) {
    throw modelError(
      path,
      `the zip entry ${describeJson(name)} is compressed (method ${method})`,
      'torch.save does not compress: the file is a TorchScript program, or was packed again. Save its tensors with torch.save.',
    );
  }
  if ((flags & ~HARMLESS_FLAGS) !== 0 || view.getUint16(at + 34, true) !== 0) {
    throw modelError(path, `the zip entry ${describeJson(name)} is encrypted or patched, which torch.save never does`);
  }
  const extraStart = at + DIRECTORY_BYTES + nameLength;
  const [bytes, stored, local] = withZip64(
    view,
    [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)],
    extraStart,
    extraStart + extraLength,
  );
  if (bytes === undefined || stored !== bytes || local === undefined) {
    throw modelError(path, `the sizes of the zip entry ${describeJson(name)} contradict each other`);
  }
  return { name, nameBytes, flags, bytes, local, end };
}

/** Sizes and offset of an entry. Saturated ones come from its zip64 field, in this order, or are undefined. */
function withZip64(view: DataView, values: readonly number[], start: number, end: number): (number | undefined)[] {
  let field = start;
  let fieldEnd = start;
  for (let at = start; at + 4 <= end; at = fieldEnd) {
    fieldEnd = at + 4 + view.getUint16(at + 2, true);
    if (view.getUint16(at, true) !== 0x0001) continue;
    field = at + 4;
    break;
  }
  if (field === start || fieldEnd > end) return values.map((value) => (value === SATURATED ? undefined : value));
  return values.map((value) => {
    if (value !== SATURATED) return value;
    field += 8;
    return field <= fieldEnd ? readUint64(view, field - 8) : undefined;
  });
}

/** Compares the header before an entry with the directory; returns where the entry's bytes start. */
async function checkLocalHeader(file: NativeFile, entry: DirectoryEntry, directoryStart: number): Promise<number> {
  const damaged = (reason: string) =>
    modelError(file.path, `the header of the zip entry ${describeJson(entry.name)} ${reason}`);
  const headerBytes = LOCAL_BYTES + entry.nameBytes.length;
  if (entry.local > directoryStart - headerBytes) throw damaged('is not inside the file');
  const view = new DataView(await file.read(entry.local, headerBytes));
  if (view.getUint32(0, true) !== 0x04034b50) throw damaged('is not where the directory says');
  const name = new Uint8Array(view.buffer, LOCAL_BYTES);
  const sameName = view.getUint16(26, true) === name.length && name.every((byte, i) => byte === entry.nameBytes[i]);
  const sameKind = view.getUint16(6, true) === entry.flags && view.getUint16(8, true) === 0;
  const sameSize = [view.getUint32(18, true), view.getUint32(22, true)].every(
    (size) =>
      size === Math.min(entry.bytes, SATURATED) ||
      size === SATURATED ||
      (size === 0 && (entry.flags & SIZES_FOLLOW) !== 0),
  );
  if (!sameName || !sameKind || !sameSize) throw damaged('contradicts the directory');
  return entry.local + headerBytes + view.getUint16(28, true);
}

function decodeName(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw modelError(path, 'the name of a zip entry is not UTF-8', undefined, cause);
  }
}

/** A 64-bit integer; above 2^53 it is not exact, and beyond the end of any file. */
function readUint64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}
