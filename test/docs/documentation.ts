// Reads code blocks out of the documentation and runs them as a reader would: files under the names the page gives them,
// commands in order, in a folder where `npx heddle` and `import 'heddle'` are this checkout.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder, writeFile } from '../cli/heddle.js';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export interface Block {
  readonly language: string;
  /** File name after the language: ```js plugin.mjs */
  readonly file: string | undefined;
  readonly text: string;
}

export const readPage = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

export const blocksOf = (page: string): Block[] =>
  [...page.matchAll(/^```(\w+)(?: +(\S+))?\n([\s\S]*?)^```$/gm)].map(([, language = '', file, text = '']) => ({
    language,
    file,
    text,
  }));

/** The commands of all `sh` blocks, those that fetch or install aside. */
export const commandsOf = (page: string): string[] =>
  blocksOf(page)
    .filter((b) => b.language === 'sh')
    .flatMap((b) => b.text.trim().split('\n'))
    .filter((line) => line && !/^(git|cd|npm) |^#/.test(line));

/** A folder that stands for the reader's clone, with every named block of the page in it. */
export function layOut(page: string): string {
  const dir = temporaryFolder();
  if (!existsSync(join(ROOT, 'dist', 'cli', 'main.js')))
    throw new Error('these tests run the built program: npm run build');
  mkdirSync(join(dir, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(ROOT, join(dir, 'node_modules', 'heddle'), 'dir');
  symlinkSync(join('..', 'heddle', 'dist', 'cli', 'main.js'), join(dir, 'node_modules', '.bin', 'heddle'));
  symlinkSync(join(ROOT, 'docs'), join(dir, 'docs'), 'dir');
  for (const { file, text } of blocksOf(page)) if (file) writeFile(join(dir, file), text);
  return dir;
}

export interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One line of a shell block. */
export function shell(command: string, cwd: string): Promise<Result> {
  return new Promise((resolve) => {
    execFile('sh', ['-c', asInstalled(command)], { cwd, maxBuffer: 2 ** 26 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

/** `npx heddle` is the program in node_modules/.bin; called directly, so that nothing is ever fetched. */
const asInstalled = (command: string): string =>
  command.replace(/^npx heddle\b/, `"${process.execPath}" node_modules/.bin/heddle`);
