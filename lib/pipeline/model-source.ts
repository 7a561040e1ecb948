/** Resolves a model's name to its folder: the built-in model, a folder, or a hub repository. */

import { stat } from 'node:fs/promises';
import { editDistance } from '../base/edit-distance.ts';
import { argumentError, SanaError } from '../base/errors.ts';
import { version } from '../base/package.ts';
import { BUILT_IN_MODEL, modelFolder } from '../checkpoint/built-in.ts';
import { checkpointFiles, controlNetFiles } from '../checkpoint/checkpoint-files.ts';
import { ModelFolder } from '../checkpoint/model-folder.ts';
import type { FolderView } from '../checkpoint/weight-files.ts';
import { isRepositoryId } from '../hub/repository.ts';
import { openSnapshot, type RemoteSnapshot, type Snapshot } from '../hub/snapshot.ts';
import type { CheckedLoadOptions } from '../request/load-options.ts';

export type SourceOptions = Pick<
  CheckedLoadOptions,
  'variant' | 'revision' | 'cacheDir' | 'localFilesOnly' | 'token' | 'onProgress' | 'signal'
>;

const OWNER = 'Efficient-Large-Model';
/** The released models in the diffusers layout, for hints. */
const RELEASED = [
  'Sana_600M_512px_diffusers',
  'Sana_600M_1024px_diffusers',
  'Sana_1600M_512px_diffusers',
  'Sana_1600M_512px_MultiLing_diffusers',
  'Sana_1600M_1024px_diffusers',
  'Sana_1600M_1024px_MultiLing_diffusers',
  'Sana_1600M_1024px_BF16_diffusers',
  'Sana_1600M_2Kpx_BF16_diffusers',
  'Sana_1600M_4Kpx_BF16_diffusers',
  'SANA1.5_1.6B_1024px_diffusers',
  'SANA1.5_4.8B_1024px_diffusers',
  'Sana_Sprint_0.6B_1024px_diffusers',
  'Sana_Sprint_1.6B_1024px_diffusers',
].map((name) => `${OWNER}/${name}`);

/** The folder of a model. A repository whose files are not all in the cache is downloaded first. */
export async function locateModel(model: string, options: SourceOptions): Promise<string> {
  if (await isRepository(model)) return (await open(model, options, checkpointFiles)).folder;
  if (options.revision !== undefined) {
    const what = model === BUILT_IN_MODEL ? 'part of the package' : 'a folder';
    throw new SanaError('ERR_SANA_ARGUMENT', `\`revision\` applies only to hub repositories, and ${model} is ${what}`, {
      hint: 'Leave `revision` out, or pass a repository, owner/name, that is not also the path of a folder.',
    });
  }
  return modelFolder(model);
}

/** The folder of a ControlNet, or of a checkpoint that has one. From a repository only the ControlNet is downloaded. */
export async function locateControlNet(controlnet: string, options: SourceOptions): Promise<string> {
  if (!(await isRepository(controlnet))) return controlnet;
  // `revision` is the model's.
  return (await open(controlnet, { ...options, revision: undefined }, controlNetFiles)).folder;
}

/** `owner/name` is a repository unless a file or folder of that name exists. */
export async function isRepository(model: string): Promise<boolean> {
  return model !== BUILT_IN_MODEL && isRepositoryId(model) && (await stat(model).catch(() => null)) === null;
}

/**
 * Downloads the files of a repository that loading needs and that are not in the cache. The repository has a model, or
 * only a ControlNet.
 */
export async function pullRepository(
  repository: string,
  options: SourceOptions & { readonly refresh?: boolean },
): Promise<Snapshot> {
  if (!isRepositoryId(repository)) {
    throw argumentError('repository', `a name such as ${RELEASED[0]}`, repository);
  }
  return await open(repository, options, async (folder, variant) => {
    const config = (await folder.find('model_index.json')) === null ? await folder.readJson('config.json') : null;
    const alone = config?._class_name === 'SanaControlNetModel';
    return await (alone ? controlNetFiles : checkpointFiles)(folder, variant);
  });
}

/** A snapshot with the files that `chosen` returns. */
async function open(
  repository: string,
  options: SourceOptions & { readonly refresh?: boolean },
  chosen: typeof checkpointFiles,
): Promise<Snapshot> {
  const { revision, cacheDir, localFilesOnly, token, signal, onProgress, refresh } = options;
  const variant = options.variant ?? undefined;
  return await openSnapshot(repository, {
    revision,
    cacheDir,
    localFilesOnly,
    token,
    signal,
    refresh,
    userAgent: `sana-native/${version}`,
    onProgress: onProgress && ((progress) => onProgress({ phase: 'download', ...progress })),
    choose: async (remote) => (await chosen(new RemoteFolder(remote), variant)).names,
    look: async (folder) => {
      try {
        return (await chosen(await ModelFolder.open(folder), variant)).exact ? 'exact' : 'usable';
      } catch (error) {
        if (error instanceof SanaError) return error;
        throw error;
      }
    },
    suggestions: { repositories: RELEASED, nearest },
  });
}

/** A repository seen as a folder: files are fetched when they are read. */
class RemoteFolder implements FolderView {
  readonly path: string;
  readonly #remote: RemoteSnapshot;

  constructor(remote: RemoteSnapshot) {
    this.path = remote.repository;
    this.#remote = remote;
  }

  async find(name: string): Promise<string | null> {
    return this.#remote.names.has(name) ? name : null;
  }

  async readJson(name: string): ReturnType<FolderView['readJson']> {
    if (!this.#remote.names.has(name)) return null;
    await this.#remote.fetch(name);
    return await (await ModelFolder.open(this.#remote.folder)).readJson(name);
  }

  async list(folder: string): Promise<{ name: string }[]> {
    const prefix = folder === '.' ? '' : `${folder}/`;
    const inside = [...this.#remote.names].filter((name) => name.startsWith(prefix));
    return [...new Set(inside.map((name) => name.slice(prefix.length).split('/')[0] ?? ''))].map((name) => ({ name }));
  }
}

/** The released name closest to a mistyped one. */
function nearest(typed: string, names: readonly string[]): string | undefined {
  const wanted = typed.toLowerCase();
  const ranked = names
    .map((name) => ({ name, distance: editDistance(wanted, name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return ranked.find(({ distance }) => distance > 0 && distance <= Math.max(1, wanted.length / 4))?.name;
}
