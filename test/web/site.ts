// The example page, built and served as `npm run web` does it. Models come from npm packages, once; without network and
// cache there is no page, which is said aloud.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** Kept between runs: artifacts are made again only when the compiler or a model has changed. */
const FOLDER = join(ROOT, '.cache', 'web-test');

export interface Site {
  readonly url: string;
  close(): void;
}

/** null where the models cannot be had. */
export async function openSite(): Promise<Site | null> {
  if (!existsSync(join(ROOT, 'dist', 'index.js'))) throw new Error('this test uses the built compiler: npm run build');
  const problem = await build();
  if (problem) {
    process.stderr.write(`SKIPPED: tests of the example page, as ${problem}\n`);
    return null;
  }
  const server = spawn(process.execPath, [join(ROOT, 'web', 'serve.mjs'), '--port', '0', '--folder', FOLDER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return { url: await firstLine(server), close: () => void server.kill() };
}

/** '' or why the models cannot be had; throws where the build is at fault. */
function build(): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [join(ROOT, 'web', 'build.mjs'), '--out', FOLDER], (error, _, err) => {
      const missing = /^.*cannot be fetched from npm.*$/m.exec(err)?.[0];
      if (!error) resolve('');
      else if (missing) resolve(missing);
      else reject(new Error(err));
    });
  });
}

async function firstLine(server: ChildProcess): Promise<string> {
  const [data] = await once(server.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  return String(data).trim();
}
