// README.md does what it says: its programs are written to files, its commands run in order, and its links lead somewhere.

import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandsOf, layOut, ROOT, readPage, shell } from './documentation.js';

const page = readPage('README.md');
const dir = layOut(page);

/** What the last command of a section prints. */
const PRINTED: Readonly<Record<string, RegExp>> = {
  'gcc -O2 main.c xor-c/xor.c -o xor && ./xor': /0 xor 0 = 0\n0 xor 1 = 1\n1 xor 0 = 1\n1 xor 1 = 0\n/,
  'node main.mjs': /\[ 4, 1 \] Float32Array\(4\) \[ 0, 1, 1, 0 \]/,
  'node interpret.mjs': /\[ 4, 1 \] Float32Array\(4\) \[ 0, 1, 1, 0 \]/,
};

describe('README.md', () => {
  for (const command of commandsOf(page)) {
    it(command, async () => {
      const { code, out, err } = await shell(command, dir);
      expect([code, err]).toEqual([0, code === 0 ? err : '']);
      expect(out).toMatch(PRINTED[command] ?? /^/);
    });
  }

  it('shows what each of its programs prints', () => {
    expect(commandsOf(page)).toEqual(expect.arrayContaining(Object.keys(PRINTED)));
  });

  it('names the scripts of package.json that newcomers start with', () => {
    const { scripts } = JSON.parse(readPage('package.json')) as { scripts: Record<string, string> };
    for (const [, name = ''] of page.matchAll(/npm (?:run )?(demo|test)\b/g)) expect(scripts).toHaveProperty(name);
    expect(page).toContain('npm install && npm test');
    expect(readPage('.ci/run')).toMatch(/^npm test\b/m);
  });
});

const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

describe('links between pages', () => {
  for (const path of pages.sort()) {
    it(`${path} links to what exists`, () => {
      const links = [...readPage(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)/g)].map((m) => m[1] as string);
      expect(links.filter((to) => !existsSync(join(ROOT, dirname(path), to)))).toEqual([]);
    });
  }

  it('name source files that exist', () => {
    const present = pages.filter((path) => path !== join('docs', 'STATUS.md')); // that one also names what is to come
    const missing = present.flatMap((path) =>
      [...readPage(path).matchAll(/`((?:src|test|schemas|docs)\/[\w./-]+\.(?:ts|mjs|md|proto|fbs))`/g)]
        .map((m) => m[1] as string)
        .filter((name) => !existsSync(join(ROOT, name)))
        .map((name) => `${path}: ${name}`),
    );
    expect(missing).toEqual([]);
  });
});
