/** Names of hub repositories, of their revisions and files, and of their folders in the cache. */

import { SanaError } from '../base/errors.ts';

/** The rule of huggingface_hub's `validate_repo_id`, with the owner, which every repository but a few old ones has. */
const PART = /^[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?$/;
const COMMIT = /^[0-9a-f]{40}$/;
const REVISION = /^[A-Za-z0-9_](?:[\w./-]{0,198}[A-Za-z0-9_])?$/;

/** Whether a text can be the name of a repository: `owner/name`. */
export function isRepositoryId(text: string): boolean {
  const parts = text.split('/');
  return (
    parts.length === 2 &&
    parts.every((part) => PART.test(part) && !part.includes('--') && !part.includes('..')) &&
    !text.endsWith('.git')
  );
}

/** Whether a revision is a full commit hash, which always means the same files. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** A branch, a tag or a commit that is valid in git and safe as a path in the cache's `refs`. */
export function checkRevision(revision: string): string {
  const parts = revision.split('/');
  const safe = parts.every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));
  if (REVISION.test(revision) && safe && !revision.includes('..')) return revision;
  throw new SanaError(
    'ERR_SANA_ARGUMENT',
    `Expected \`revision\` to be a branch, tag or commit, got ${quoted(revision)}`,
    {
      hint: "Pass one that the repository has, such as 'main', or leave it out.",
    },
  );
}

/** Names of folders and files that are plain words on every system. */
export function isSafeFileName(name: string): boolean {
  return name.length <= 500 && name.split('/').every((part) => /^[\w][\w .+=@~-]*$/.test(part) && !/[ .]$/.test(part));
}

/** `models--owner--name` */
export function cacheFolderName(repository: string): string {
  return ['models', ...repository.split('/')].join('--');
}

/** The repository that a folder of the cache is a snapshot of: `.../models--owner--name/snapshots/COMMIT`, or null. */
export function repositoryOfSnapshot(folder: string): string | null {
  const [name, snapshots, commit] = folder.split(/[\\/]/).slice(-3);
  const [kind, owner, ...rest] = name?.split('--') ?? [];
  if (kind !== 'models' || owner === undefined || rest.length === 0) return null;
  return snapshots === 'snapshots' && isCommit(commit ?? '') ? `${owner}/${rest.join('--')}` : null;
}

/** A text from outside in a message: on one line, and of limited length. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}
