// Downloads a repository in a process of its own: CACHE REPOSITORY. Prints the folder.
import { register } from 'tsx/esm/api';

register();
const { openSnapshot } = await import('../../lib/hub/snapshot.ts');
const [cacheDir, repository] = process.argv.slice(2);
console.error('ready');
const { folder, receivedBytes } = await openSnapshot(repository, {
  cacheDir,
  patience: { attempts: 3, pauseMs: 1, maxPauseMs: 4 },
  choose: async ({ names }) => [...names],
  look: async () => 'usable',
});
console.log(JSON.stringify({ folder, receivedBytes }));
