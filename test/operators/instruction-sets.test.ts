import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../lib/base/package.ts';

/**
 * An inline function that is compiled in several places is kept once, whichever copy the linker meets first. One that is
 * shared between instruction sets would put AVX-512 into code that runs on every machine.
 */
describe('kernels of a wide instruction set', () => {
  for (const isa of ['avx2', 'avx512', 'avx512bf16']) {
    it(`share no symbol with other code: ${isa}`, async function () {
      const folder = join(packageRoot, 'build/CMakeFiles', `kernels_${isa}.dir`);
      const files = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
      const objects = files.filter((file) => file.endsWith('.o')).map((file) => join(folder, file));
      const skip = (reason: string): never => {
        if (this.test) this.test.title += ` (skipped: ${reason})`;
        return this.skip();
      };
      if (objects.length === 0) skip('there are no objects of a local build');
      const listing = await promisify(execFile)('nm', ['-C', '-A', ...objects], { maxBuffer: 1 << 26 }).catch(
        (error) => {
          if (error.code !== 'ENOENT') throw error;
          return skip('there is no nm');
        },
      );
      const lines = listing.stdout.split('\n');
      const defined = lines.map((line) => /:[0-9a-f]+ ([A-Za-z]) (.*)$/.exec(line)).filter((match) => match !== null);
      assert(
        defined.some(([, , name]) => name?.startsWith(`sana::cpu::${isa}::`)),
        'the kernels are among the symbols',
      );
      // W, V and u: kept once among all objects that define it.
      const leaks = defined.filter(
        ([, kind, name]) => /[WVu]/.test(kind ?? '') && !name?.includes(`sana::cpu::${isa}::`),
      );
      assert.deepEqual(
        leaks.map(([, , name]) => name),
        [],
      );
    });
  }
});
