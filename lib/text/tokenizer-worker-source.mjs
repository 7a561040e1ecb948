// Starts the tokenizer's thread from the TypeScript sources, which Node 20 cannot load by itself: a thread does not
// inherit the loader of the main thread. Not part of the package.

import { register } from 'tsx/esm/api';

register();
await import('./tokenizer-worker.ts');
