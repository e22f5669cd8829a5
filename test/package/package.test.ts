// The package as users get it: packed, installed into an empty folder, run, and compiled against by a project of its own
// (test/consumer). Dependencies come from npm's cache or the registry; without either this is skipped, aloud.

import { execFile } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder, writeFile } from '../cli/heddle.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const NO_NETWORK = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ENOTCACHED|E503/;
const MINUTES = 60_000;

const dir = temporaryFolder();
const HEDDLE = join(dir, 'node_modules', '.bin', 'heddle');

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(command: string, args: readonly string[], cwd = dir): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, maxBuffer: 2 ** 26 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

async function npm(...args: readonly string[]): Promise<Outcome> {
  return run('npm', [...args, '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']);
}

/** Packs this checkout as it was built and installs it; false, said aloud, where dependencies cannot be had. */
async function install(): Promise<boolean> {
  if (!existsSync(join(ROOT, 'dist', 'cli', 'main.js')))
    throw new Error('this test packs what was built: npm run build');
  const packed = await npm('pack', ROOT, '--json');
  expect([packed.code, packed.err]).toEqual([0, packed.code === 0 ? packed.err : '']);
  const { code, err } = await npm('install', `./${readdirSync(dir).find((name) => name.endsWith('.tgz'))}`);
  if (code === 0) return true;
  if (!NO_NETWORK.test(err)) throw new Error(err);
  console.warn(`skipped: the package test needs npm's registry or cache: ${err.split('\n')[0]}`);
  return false;
}

/** Every path that `exports` and `bin` name. */
const pathsOf = (entry: unknown): string[] =>
  typeof entry === 'string' ? [entry] : Object.values(entry as Record<string, unknown>).flatMap(pathsOf);

let installed = false;
beforeAll(async () => {
  cpSync(join(ROOT, 'test', 'consumer'), dir, { recursive: true });
  installed = await install();
}, 5 * MINUTES);

const step = (name: string, body: () => Promise<void>): void => {
  it(name, async ({ skip }) => (installed ? body() : skip('no registry and no cache')), 2 * MINUTES);
};

describe('the package, installed in an empty folder', () => {
  step('holds what it names, and neither sources nor tests', async () => {
    const home = join(dir, 'node_modules', 'heddle');
    const { bin, exports } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as Record<string, unknown>;
    for (const path of [...pathsOf(exports), ...pathsOf(bin)])
      expect([path, existsSync(join(home, path))]).toEqual([path, true]);
    for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md']) expect(existsSync(join(home, name))).toBe(true);
    for (const name of ['src', 'test', 'bench', '.ci']) expect(existsSync(join(home, name))).toBe(false);
  });

  step('has a command line', async () => {
    const { code, out } = await run(HEDDLE, ['--help']);
    expect(code).toBe(0);
    for (const command of ['inspect', 'coverage', 'compile', 'run', 'test', 'verify', 'stt'])
      expect(out).toContain(command);
  });

  step('compiles a model with it, for C and WebAssembly', async () => {
    const made = await run(process.execPath, [join(ROOT, 'docs', 'examples', 'xor.mjs'), join(dir, 'xor.onnx')]);
    expect(made.code).toBe(0);
    for (const [target, folder] of [
      ['wasm', 'model'],
      ['c', 'net'],
    ] as const) {
      const { code, err } = await run(HEDDLE, [
        'compile',
        'xor.onnx',
        '--target',
        target,
        '--dim',
        'n=1..64',
        '-o',
        folder,
      ]);
      expect([code, err]).toEqual([0, code === 0 ? err : '']);
    }
    expect(readdirSync(join(dir, 'net'))).toEqual(expect.arrayContaining(['model.c', 'model.h']));
    expect(readdirSync(join(dir, 'model'))).toEqual(expect.arrayContaining(['model.mjs', 'model.d.ts', 'model.wasm']));
  });

  step('type-checks in a strict project, its artifact too', async () => {
    const { code, out } = await run(process.execPath, [
      join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
      '-p',
      dir,
    ]);
    expect([code, out]).toEqual([0, '']);
  });

  step('runs there, as a library and as an artifact', async () => {
    cpSync(join(dir, 'model'), join(dir, 'out', 'model'), { recursive: true });
    const artifact = await run(process.execPath, ['out/artifact.js']);
    expect(JSON.parse(artifact.out)).toEqual({ dtype: 'f32', shape: [4, 1], values: [0, 1, 1, 0] });
    writeFile(join(dir, 'main.mjs'), LIBRARY_MAIN);
    const { out, err } = await run(process.execPath, ['main.mjs']);
    expect(err).toBe('');
    expect(JSON.parse(out)).toEqual({
      results: [
        [1, 0],
        [1, 0],
      ],
      files: expect.arrayContaining(['net.c', 'net.h', 'model.wasm', 'model.mjs']),
      code: 'E102',
      records: ['clipped', 'reversed'],
    });
  });
});

const LIBRARY_MAIN = `import { readFileSync } from 'node:fs';
import { codeOf, files, run } from './out/library.js';
import { records } from './out/plugin.js';
const model = readFileSync('xor.onnx');
console.log(JSON.stringify({
  results: await run(model),
  files: files(model),
  code: codeOf(Uint8Array.of(1, 2, 3)),
  records: records.map((r) => r.name),
}));
`;

describe('a clone', () => {
  // That `npm install` then builds, and that `npx heddle` runs, is seen in .ci/run: both would rebuild what tests are using.
  it('is built by `npm install`, into the command that its package names', () => {
    const { scripts, bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
      bin: Record<string, string>;
    };
    expect(scripts.prepare).toBe('npm run build');
    expect(readFileSync(join(ROOT, bin.heddle as string), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});
