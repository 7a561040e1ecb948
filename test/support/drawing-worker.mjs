// A thread that draws one picture after another until it is terminated, and says the hash of each.

import { register } from 'tsx/esm/api';

register(); // a thread does not inherit the loader of TypeScript
const { parentPort } = await import('node:worker_threads');
const { loadTiny, pictures, small } = await import('./pipelines.ts');

const pipe = await loadTiny();
for (;;) {
  const result = await pipe.generate({
    ...small,
    numInferenceSteps: 4,
    onStep: ({ step }) => parentPort.postMessage({ step }),
  });
  parentPort.postMessage({ pictures: pictures(result) });
}
