import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { readGenerationMetadata } from '../lib/index.ts';
import { Project } from './support/doc-examples.ts';
import { temporaryFolder } from './support/files.ts';
import { linksOf } from './support/markdown.ts';

const folder = join(import.meta.dirname, '../examples');
const programs = readdirSync(folder).filter((name) => name !== 'README.md');

/** What a program made: what it printed, and its files. */
interface Made {
  readonly printed: string;
  readonly files: readonly string[];
  text(name: string): string;
  bytes(name: string): Buffer;
  /** The mean of each of R, G and B over a rectangle of a picture, in fractions of its sides. */
  colour(name: string, area?: { left: number; top: number; width: number; height: number }): Promise<number[]>;
}

/** The upper left corner of a picture: its background. */
const corner = { left: 0, top: 0, width: 0.1, height: 0.1 };

const near = (actual: readonly number[], expected: readonly number[], what: string) => {
  for (const [i, value] of expected.entries()) assert(Math.abs((actual[i] ?? Number.NaN) - value) < 30, what);
};
const [teal, white, purple, navy, gray, blue, red, yellow, black] = [
  [0, 150, 145],
  [255, 255, 255],
  [128, 70, 180],
  [20, 35, 90],
  [140, 145, 155],
  [40, 105, 210],
  [215, 45, 45],
  [250, 210, 60],
  [20, 22, 25],
];

/** What each program should have made. A program without an entry fails. */
const CHECKS: Readonly<Record<string, (made: Made) => Promise<void> | void>> = {
  'text-to-image.mts': async ({ printed, colour }) => {
    assert.match(printed, /^cat\.png, seed 7, \d+ ms$/m);
    near(await colour('cat.png', corner), teal, 'the background is teal');
  },
  'text-to-image.cjs': async ({ colour }) => {
    near(await colour('fox.png', corner), white, 'the background is white');
  },
  'progress-and-cancellation.mts': async ({ printed, files, colour }) => {
    assert.match(printed, /^load: \d+ of \d+ bytes$/m);
    assert.match(printed, /^ready: /m);
    assert.match(printed, /^step 10 of 10, \d+ ms$/m);
    assert.match(printed, /^cancelled: three steps are enough\ndrew again/m);
    near(await colour('owl.png', corner), purple, 'the background is purple');
    assert.deepEqual(files, ['owl.png']);
  },
  'image-to-image.mts': async ({ colour }) => {
    near(await colour('apple.png', corner), yellow, 'the first background');
    const [start = [], kept = [], left = []] = await Promise.all(
      ['apple.png', 'apple-0.1.png', 'apple-0.6.png'].map((name) => colour(name, corner)),
    );
    const distance = (to: number[]) => Math.hypot(...start.map((value, i) => value - (to[i] ?? 0)));
    assert(distance(left) > distance(kept) + 50, 'more strength leaves more of the picture behind');
  },
  'inpainting.mts': async ({ colour }) => {
    const left = { left: 0, top: 0, width: 0.5, height: 1 };
    const right = { ...corner, left: 0.9 };
    assert.deepEqual(await colour('after.png', left), await colour('before.png', left)); // kept to the pixel
    near(await colour('before.png', right), blue, 'the right corner is blue before');
    near(await colour('after.png', right), red, 'the right corner is red afterwards');
  },
  'batch.mts': async ({ printed, bytes, colour }) => {
    assert.match(printed, /^batch-3\.png: a cactus on a gray background, seed 103$/m);
    for (const i of [0, 1]) near(await colour(`batch-${i}.png`, corner), navy, 'a rocket is on navy');
    for (const i of [2, 3]) near(await colour(`batch-${i}.png`, corner), gray, 'a cactus is on gray');
    assert.notDeepEqual(bytes('batch-2.png'), bytes('batch-3.png'));
    const pixels = (name: string) => sharp(bytes(name)).raw().toBuffer();
    assert(
      (await pixels('again.png')).equals(await pixels('batch-3.png')),
      'alone, the picture has the same pixels as in the batch',
    );
  },
  'previews.mts': async ({ files, colour }) => {
    assert.deepEqual(files, ['preview-3.png', 'preview-6.png', 'preview-9.png', 'rocket.png']);
    near(await colour('preview-9.png', corner), navy, 'the last preview has the background');
    near(await colour('rocket.png', corner), navy, 'the picture has the background');
  },
  'lora.mts': async ({ bytes, colour }) => {
    near(await colour('without.png', corner), black, 'the background is black');
    const metadata = await readGenerationMetadata(bytes('with.png'));
    assert(metadata?.source === 'sana-native');
    assert.deepEqual(
      metadata.loras?.map(({ name, scale }) => [name, scale]),
      [['example', 0.8]],
    );
    const pictures = ['without.png', 'with.png', 'weaker.png'].map((name) => bytes(name).toString('base64'));
    assert.equal(new Set(pictures).size, 3, 'the adapter changes the picture, and its strength does');
    assert(
      bytes('removed.png').equals(bytes('without.png')),
      'without the adapter, the picture is the first one again',
    );
  },
  'memory.mts': ({ printed }) => {
    const [, planned] = /planned peak (\d+) bytes/.exec(printed) ?? [];
    const [, measured] = /measured peak (\d+) bytes/.exec(printed) ?? [];
    assert(planned !== undefined && planned === measured, printed);
  },
  'worker-thread.mjs': async ({ printed, colour }) => {
    assert.match(printed, /^main\.png and worker\.png$/m);
    near(await colour('main.png', corner), navy, 'the crown is on navy');
    near(await colour('worker.png', corner), gray, 'the sunflower is on gray');
  },
  'operators.mts': ({ printed }) => {
    assert.match(printed, /^layer > linear \[3, 32\] x \[16, 32\] -> \[3, 16\]: \d+ FLOP$/m);
    const [, difference] = /^largest difference (\S+)$/m.exec(printed) ?? [];
    assert(Number(difference) < 1e-5, printed);
  },
  'recipes.sh': async ({ text, bytes, colour }) => {
    for (const name of ['robot.png', 'robot-fast.png']) near(await colour(name, corner), yellow, name);
    assert.equal((await readGenerationMetadata(bytes('robot-fast.png')))?.numInferenceSteps, 5);
    assert.equal((await sharp(bytes('hamburger.png')).metadata()).format, 'png');
    assert.equal(JSON.parse(text('dolphin.json')).images.length, 1);
    near(await colour('robot-red.png', corner), red, 'the background is red');
    assert.match(text('explained.txt'), /decode/);
    assert.match(text('vocabulary.txt'), /robot/);
    assert.match(text('error.txt'), /steps/);
  },
};

describe('the programs of examples/', function () {
  this.timeout(120_000);
  const temporary = temporaryFolder();
  let project: Project;
  before(() => {
    project = new Project(temporary.path);
    cpSync(folder, join(temporary.path, 'examples'), { recursive: true });
  });

  for (const name of programs) {
    it(name, async () => {
      const made = join(temporary.path, `made-by-${name}`);
      mkdirSync(made);
      const printed = project.runFile(join(temporary.path, 'examples', name), made);
      const bytes = (file: string) => readFileSync(join(made, file));
      const check = CHECKS[name];
      assert(check !== undefined, `nothing says what ${name} should make`);
      await check({
        printed,
        files: readdirSync(made).sort(),
        bytes,
        text: (file) => bytes(file).toString('utf8'),
        colour: async (file, area = { left: 0, top: 0, width: 1, height: 1 }) => {
          const { width = 0, height = 0 } = await sharp(bytes(file)).metadata();
          const region = {
            left: Math.floor(area.left * width),
            top: Math.floor(area.top * height),
            width: Math.floor(area.width * width),
            height: Math.floor(area.height * height),
          };
          // Two images: statistics are of the whole input.
          const part = await sharp(bytes(file)).extract(region).removeAlpha().png().toBuffer();
          return (await sharp(part).stats()).channels.slice(0, 3).map(({ mean }) => mean);
        },
      });
    });
  }

  it('are all listed in examples/README.md, and document how to run them', () => {
    const listed = linksOf(readFileSync(join(folder, 'README.md'), 'utf8')).filter((link) => !link.includes('/'));
    assert.deepEqual(listed.sort(), [...programs].sort());
    for (const name of programs) {
      const text = readFileSync(join(folder, name), 'utf8');
      assert.match(text, new RegExp(`^(//|#) {3}(npx tsx|node|bash) examples/${name}`, 'm'), name);
    }
  });
});
