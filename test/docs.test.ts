import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { openCheckpoint } from '../lib/checkpoint/checkpoint.ts';
import { readTensors, writeSafetensors } from '../lib/checkpoint/tensor-file.ts';
import { EXIT, exitCodeOf } from '../lib/cli/exit-codes.ts';
import { ENCODE } from '../lib/request/encode-table.ts';
import { LOAD } from '../lib/request/load-table.ts';
import { LORA } from '../lib/request/lora-table.ts';
import { REQUEST } from '../lib/request/request-table.ts';
import { optionsPage } from '../scripts/generate/options-page.ts';
import { examplesOf, Project } from './support/doc-examples.ts';
import { FakeHub } from './support/fake-hub.ts';
import { openFile, temporaryFolder } from './support/files.ts';
import { anchorsOf, headingsOf, linksOf } from './support/markdown.ts';
import { officialAutoencoder, officialTransformer, type Values } from './support/official-names.ts';
import { layOver } from './support/pipelines.ts';
import { torchFile } from './support/torch-writer.ts';

const root = join(import.meta.dirname, '..');
const model = join(root, 'test/fixtures/sana-base');

describe('the examples of the documentation', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sana-docs-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Runs an example as a user's program would run, with the package's sources in the place of the package. */
  function run(example: string): string {
    const file = join(folder, 'example.mts');
    const source = example
      .replaceAll(/'sana-native\/ops'/g, JSON.stringify(join(root, 'lib/graph/index.ts')))
      .replaceAll(/'sana-native'/g, JSON.stringify(join(root, 'lib/index.ts')))
      .replaceAll(/ 'sharp'/g, ` ${JSON.stringify(createRequire(import.meta.url).resolve('sharp'))}`);
    writeFileSync(file, source);
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    return execFileSync(process.execPath, ['--import', tsx, file], { cwd: folder, encoding: 'utf8' });
  }

  it('README: loads a checkpoint, draws, saves', () => {
    const [, example = assert.fail()] =
      /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
    const call = "'./Sana_600M_512px_diffusers', { variant: 'fp16' }";
    assert(example.includes(call));
    run(example.replace(call, JSON.stringify(model)));
    assert(existsSync(join(folder, 'fox.png')));
  });

  it('docs/controlnet.md: draws by an edge map', async () => {
    const [, example = assert.fail()] =
      /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/controlnet.md'), 'utf8')) ?? [];
    const call = "'./Sana_600M_1024px_ControlNet_diffusers', { variant: 'fp16' }";
    assert(example.includes(call));
    await sharp({ create: { width: 64, height: 48, channels: 3, background: '#000' } }).toFile(
      join(folder, 'edges.png'),
    );
    const controlnet = join(root, 'test/fixtures/sana-controlnet');
    run(example.replace(call, `${JSON.stringify(model)}, { controlnet: ${JSON.stringify(controlnet)} }`));
    const { width, height } = await sharp(join(folder, 'cat.png')).metadata();
    assert.deepEqual([width, height], [1024, 1024]);
  });

  it('docs/lora.md: loads adapters, draws, removes one', () => {
    const [, example = assert.fail()] =
      /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/lora.md'), 'utf8')) ?? [];
    const paths = {
      './Sana_1600M_1024px_diffusers': model,
      './watercolour.safetensors': join(root, 'test/fixtures/sana-lora/all/pytorch_lora_weights.safetensors'),
      './outlines': join(root, 'test/fixtures/sana-lora/attn'),
    };
    const local = Object.entries(paths).reduce((text, [path, file]) => {
      assert(text.includes(`'${path}'`));
      return text.replace(`'${path}'`, JSON.stringify(file));
    }, example);
    const small = 'seed: 7, width: 64, height: 64, numInferenceSteps: 1, useResolutionBinning: false';
    assert.equal(run(local.replace('seed: 7', small)), 'all 0.8\n');
    assert(existsSync(join(folder, 'weaker.png')));
  });

  it('sana-native/ops: records a graph and runs it', () => {
    const comment = readFileSync(join(root, 'lib/graph/index.ts'), 'utf8').split('@example')[1]?.split('*/')[0];
    const example = comment?.replaceAll(/^ \* ?/gm, '') ?? assert.fail();
    const imports = "import { Arena, Storage, Graph, openDevice, Program, read, write } from 'sana-native/ops';\n";
    const printed = run(
      `${imports}${example
        .replace(/^(new Float32Array\(await read)/m, 'console.log($1')
        .trim()
        .replace(/;$/, ');')}`,
    );
    assert.match(printed, /0\.731058/); // silu(1)
  });

  describe('docs/models.md', () => {
    const text = readFileSync(join(root, 'docs/models.md'), 'utf8');
    const sections = text.split(/^## /m).flatMap((section) => {
      const [, example] = /```ts\n([\s\S]*?)```/.exec(section) ?? [];
      return example === undefined ? [] : [[section.split('\n', 1)[0] ?? '', example] as const];
    });
    /** What is laid over the tiny checkpoint to make it one of the kind. */
    const overlays = { Sana_1600M_4Kpx: 'sana-4k', 'SANA1.5': 'sana15', Sana_Sprint: 'sana-sprint' };
    const pictures: Record<string, string[]> = {
      'SANA 1.0': ['picture-0.png', 'picture-1.png', 'picture-2.png', 'picture-3.png'],
      '2K and 4K': ['island.png'],
      'SANA-1.5': ['fox-1.5.png'],
      'SANA-Sprint': ['fox-1.png', 'fox-2.png', 'fox-4.png'],
      'Image to image': ['fox-at-night.png'],
      Inpainting: ['fox-and-hare.png'],
      'Perturbed-attention guidance': ['fox-pag.png'],
    };

    it('has an example of every variant', () => {
      assert.deepEqual(
        sections.map(([title]) => title),
        Object.keys(pictures),
      );
    });

    for (const [title, example] of sections) {
      it(title, async () => {
        const [, name = assert.fail()] = /fromPretrained\('\.\/([^']+)'/.exec(example) ?? [];
        const overlay = Object.entries(overlays).find(([start]) => name.startsWith(start))?.[1];
        const laid = layOver(...(overlay === undefined ? [] : [overlay]));
        try {
          const config = join(laid.path, 'transformer/config.json');
          const json = JSON.parse(readFileSync(config, 'utf8'));
          writeFileSync(config, JSON.stringify({ ...json, sample_size: 6 })); // 192 pixels, drawn in a second
          symlinkSync(laid.path, join(folder, name));
          const blue = { create: { width: 160, height: 96, channels: 3, background: '#36c' } } as const;
          await sharp(blue).toFile(join(folder, 'fox.png'));
          run(example);
          for (const picture of pictures[title] ?? []) {
            const { width, height } = await sharp(join(folder, picture)).metadata();
            const size = example.includes("image: 'fox.png'") ? [160, 96] : [192, 192];
            assert.deepEqual([width, height], size, picture);
            rmSync(join(folder, picture));
          }
        } finally {
          rmSync(join(folder, name), { force: true });
          laid.remove();
        }
      });
    }
  });

  it('docs/convert.md: converts a transformer, a larger one and an autoencoder, and draws', async () => {
    const weights = async (...path: string[]) =>
      (await readTensors(join(root, 'test/fixtures', ...path), openFile)) as Map<string, Values>;
    const transformer = new Map<string, Values>();
    for (const i of [1, 2, 3]) {
      const shard = `diffusion_pytorch_model-0000${i}-of-00003.safetensors`;
      for (const [name, value] of await weights('sana-base/transformer', shard)) transformer.set(name, value);
    }
    const large = officialTransformer(await weights('sana-4k/transformer/diffusion_pytorch_model.safetensors'));
    const autoencoder = officialAutoencoder(await weights('sana-base/vae/diffusion_pytorch_model.safetensors'));
    writeFileSync(join(folder, 'Sana_1600M_1024px.pth'), torchFile(officialTransformer(transformer)));
    writeFileSync(join(folder, 'Sana_1600M_4Kpx_BF16.pth'), torchFile(large, { key: 'state_dict' }));
    await writeSafetensors(join(folder, 'dc-ae-f32c32-sana-1.1.safetensors'), autoencoder);
    symlinkSync(model, join(folder, 'Sana_600M_512px_diffusers'));

    const text = readFileSync(join(root, 'docs/convert.md'), 'utf8');
    const lines = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, storage = '']) => storage.trim().split('\n'));
    assert.equal(lines.length, 4);
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    for (const line of lines) {
      const [command, ...args] = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(
        ([, quoted, plain]) => quoted ?? plain ?? '',
      );
      assert.equal(command, 'sana-native');
      // The tiny model's width was not released.
      if (line.includes('Sana_1600M') && args[0] === 'convert') args.push('--cross-attention-heads', '4');
      if (args[0] === 'generate') args.push('--steps', '1', '-W', '96', '-H', '64', '--no-use-resolution-binning');
      execFileSync(process.execPath, ['--import', tsx, join(root, 'lib/cli/main.ts'), ...args], { cwd: folder });
    }
    const checkpoint = await openCheckpoint(join(folder, 'Sana_1600M_1024px'), { openFile });
    assert.equal(checkpoint.transformer.config.sampleSize, 32);
    checkpoint.close();
    assert(existsSync(join(folder, 'transformer', 'config.json')) && existsSync(join(folder, 'vae', 'config.json')));
    assert(existsSync(join(folder, 'fox.png')));
  });

  it('docs/models-and-cache.md: downloads a repository from the program and the command line, then draws offline', async () => {
    const text = readFileSync(join(root, 'docs/models-and-cache.md'), 'utf8');
    const [, example = assert.fail()] = /```ts\n([\s\S]*?)```/.exec(text) ?? [];
    const [, commands = assert.fail()] = /```sh\n([\s\S]*?)```/.exec(text) ?? [];
    const hub = await FakeHub.start();
    try {
      hub.addFolder('Efficient-Large-Model/Sana_600M_512px_diffusers', model);
      const env = { ...process.env, ...hub.env(join(folder, 'home')), HF_HUB_CACHE: '', HF_HUB_OFFLINE: '' };
      const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
      const node = async (...args: string[]) =>
        (await promisify(execFile)(process.execPath, ['--import', tsx, ...args], { cwd: folder, env })).stdout;
      writeFileSync(
        join(folder, 'download.mts'),
        example.replace("'sana-native'", JSON.stringify(join(root, 'lib/index.ts'))),
      );
      assert.match(await node('download.mts'), /^download \d+ of \d+ /m);
      const downloaded = hub.downloads().length;
      assert.ok(downloaded >= 12);
      for (const line of commands.trim().split('\n')) {
        const [, ...args] = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
        if (args[0] === 'generate') args.push('--steps', '1', '-W', '96', '-H', '64', '--no-use-resolution-binning');
        await node(join(root, 'lib/cli/main.ts'), ...args);
      }
      assert.deepEqual(hub.downloads(), []); // all was there
      assert(existsSync(join(folder, 'fox.png')));
    } finally {
      await hub.stop();
    }
  });
});

/** Every Markdown page of the repository, by its path. */
function pages(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isFile()) return entry.name.endsWith('.md') ? [path] : [];
    return !entry.isDirectory() || /^(\..*|node_modules|build.*|dist|site)$/.test(entry.name) ? [] : pages(path);
  });
}

const pageOf = (name: string) => readFileSync(join(root, 'docs', name), 'utf8');

describe('the pages of the documentation', () => {
  /** Those whose examples run as they stand, in the order of a page, in a project that has the package. */
  const runnable = [
    'getting-started.md',
    'options.md',
    'memory.md',
    'gpus.md',
    'errors.md',
    'docker.md',
    'bundlers.md',
    'electron.md',
    'workers.md',
  ];
  const folder = temporaryFolder();
  let project: Project;
  before(() => {
    project = new Project(folder.path);
  });

  for (const name of runnable) {
    it(`${name}: every example runs, or has a reason not to`, () => {
      const examples = examplesOf(pageOf(name));
      assert.equal(examples.length, pageOf(name).match(/^```\w/gm)?.length);
      for (const example of examples) project.run(example);
    });
  }

  it('the types of every TypeScript example are right', () => {
    const typed = [...runnable, 'models.md', 'models-and-cache.md', 'lora.md', 'controlnet.md', '../README.md'];
    const examples = typed.flatMap((name) => examplesOf(pageOf(name)));
    project.checkTypes(examples.filter(({ language }) => language === 'ts').map(({ code }) => code));
  });

  it('errors.md has a heading for every code, and for nothing else', () => {
    const source = readFileSync(join(root, 'lib/base/errors.ts'), 'utf8');
    const codes = [...source.matchAll(/^ {2}\| '(ERR_SANA_\w+)'/gm)].map(([, code]) => code);
    assert.ok(codes.length > 10);
    const titles = headingsOf(pageOf('errors.md'), 2).filter((title) => title !== 'Exit codes');
    assert.deepEqual(titles.sort(), codes.sort());
  });

  it('errors.md has every exit code, with the errors that lead to it', () => {
    const rows = [...pageOf('errors.md').matchAll(/^\| (\d+) \| [^|]+ \|([^|]*)\|$/gm)];
    assert.deepEqual(
      rows.map(([, code]) => Number(code)),
      Object.values(EXIT),
    );
    const listed = rows.flatMap(([, exit, errors = '']) =>
      [...errors.matchAll(/ERR_SANA_\w+/g)].map(([code]) => [code, Number(exit)]),
    );
    for (const [code, exit] of listed) assert.equal(exitCodeOf(String(code)), exit, String(code));
    assert.deepEqual(
      listed.map(([code]) => code).sort(),
      headingsOf(pageOf('errors.md'), 2)
        .filter((title) => title.startsWith('ERR_'))
        .sort(),
    );
  });

  it('options.md has every option, and no other, as in its row', () => {
    const page = pageOf('options.md');
    assert.equal(page, optionsPage(page), 'Run npm run generate.');
    const sections = new Map(page.split(/^## /m).map((section) => [section.split('\n', 1)[0] ?? '', section]));
    for (const [title, table] of Object.entries({
      fromPretrained: LOAD,
      generate: REQUEST,
      loadLora: LORA,
      Saving: ENCODE,
    })) {
      const rows = [...(sections.get(title) ?? '').matchAll(/^\| `(\w+)` \|/gm)];
      assert.deepEqual(rows.map(([, name]) => name).sort(), Object.keys(table).sort(), title);
    }
  });

  it('messages that the pages quote are in the sources', () => {
    const sources = ['lib', 'core', 'platform', 'binding', 'cuda', 'cpu'].flatMap((place) =>
      readdirSync(join(root, place), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(ts|cc|h)$/.test(name))
        .map((name) => readFileSync(join(root, place, name), 'utf8')),
    );
    const source = sources.join('\n').replaceAll(/\\(['"`])/g, '$1');
    // What stands for a value: numbers, quoted names, paths, units.
    const value = /`[^`]*`|'[^']*'|"[^"]*"|\([^)]*\)|\.\.\.|\S*[./\d]\S*|\b(GB|cpu)\b|=/;
    /** Half of the words in a row are enough: the others may be values, too. */
    const quoted = (words: string[]) => {
      const half = Math.ceil(words.length / 2);
      return words.some((_, i) => i + half <= words.length && source.includes(words.slice(i, i + half).join(' ')));
    };
    const messages = [
      ...headingsOf(pageOf('gpus.md'), 3),
      ...[...pageOf('errors.md').matchAll(/^- (?:`` ?(.+?) ?``|`([^`]+)`)[:\n]/gm)].map(
        ([, double, single]) => double ?? single ?? '',
      ),
    ];
    assert.ok(messages.length > 25);
    for (const message of messages) {
      for (const part of message.split(value)) {
        assert.ok(quoted((part ?? '').trim().split(' ')), `${message}: '${part}'`);
      }
    }
  });

  it('every link of every page has a target', () => {
    const broken = pages().flatMap((page) => {
      const text = readFileSync(page, 'utf8');
      return linksOf(text).flatMap((link) => {
        if (/^[a-z]+:/.test(link)) return [];
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? page : resolve(dirname(page), decodeURIComponent(path));
        const there = existsSync(target) && !relative(root, target).startsWith('..');
        const found = there && (anchor === undefined || anchorsOf(readFileSync(target, 'utf8')).has(anchor));
        return found ? [] : [`${relative(root, page)}: ${link}`];
      });
    });
    assert.deepEqual(broken, []);
  });

  it('sources and tests that pages name are there', () => {
    const named = pages().flatMap((page) =>
      [...readFileSync(page, 'utf8').matchAll(/`((?:lib|binding|cpu|cuda|test|scripts)\/[\w./-]+)`/g)].map(
        ([, name]) => name,
      ),
    );
    assert.ok(named.length > 50);
    assert.deepEqual(
      named.filter((name) => !existsSync(join(root, String(name)))),
      [],
    );
  });

  it('docs/README.md lists every page, and the site has them in its order', () => {
    const listed = linksOf(pageOf('README.md')).map((link) => link.split('#')[0]);
    const there = pages(join(root, 'docs')).map((page) => relative(join(root, 'docs'), page));
    assert.deepEqual([...new Set(listed)].sort(), there.filter((name) => name !== 'README.md').sort());
    // The site's pages are in that order.
    const numbered = [...pageOf('README.md').matchAll(/^\d+\. \[[^\]]+\]\(([^)]+)\)/gm)].map(([, page]) => page);
    const site = JSON.parse(readFileSync(join(root, 'docs/typedoc.json'), 'utf8'));
    assert.deepEqual(site.projectDocuments, numbered);
  });
});
