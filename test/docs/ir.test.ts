// The modules on docs/ir.md are real: they parse, verify, and print as they stand there; and the pages keep up with the code.

import { describe, expect, it } from 'vitest';
import { parseModule } from '../../src/ir/parse.js';
import { printModule } from '../../src/ir/print.js';
import { MACROS, PRIMITIVES } from '../../src/ir/scalar.js';
import { verifyModule } from '../../src/ir/verify.js';
import { PIPELINE } from '../../src/passes/pipeline.js';
import { blocksOf, readPage } from './documentation.js';

const page = readPage('docs/ir.md');

describe('docs/ir.md', () => {
  for (const { text } of blocksOf(page).filter((b) => b.language === 'ir')) {
    it(`shows ${/module "\w+"/.exec(text)?.[0]} as it prints`, () => {
      const module = parseModule(text);
      expect(verifyModule(module)).toBeNull();
      expect(printModule(module)).toBe(text);
    });
  }

  it('has a row for each primitive and each statement', () => {
    const kinds = 'const generic view concat scatter scan while if call kernel state_read state_write dim'.split(' ');
    const statements = 'for while if break let set atomic alloc barrier intrin'.split(' ');
    const cells = page.split('\n').flatMap((line) => /^\| (.+?) +\|/.exec(line)?.[1] ?? []);
    for (const kind of kinds) expect(cells).toContain(`\`${kind}\``);
    for (const name of statements) expect(cells.join(' ')).toContain(`\`${name}`);
  });

  it('lists the scalar primitives, and none that is not', () => {
    const [, listed = ''] = /what a backend must spell: ([\s\S]*?)\. \*\*Macros/.exec(page) ?? [];
    expect(listed.split(/[,\s]+/).sort()).toEqual(Object.keys(PRIMITIVES).sort());
    expect(Object.keys(MACROS)).toContain('floordiv');
  });
});

describe('docs/architecture.md', () => {
  it('has a row for each pass, in order', () => {
    const rows = [...readPage('docs/architecture.md').matchAll(/^\| `([\w-]+)` +\|.*\|.*\|$/gm)].map((m) => m[1]);
    const passes = [...new Set(PIPELINE.map((p) => p.name))];
    expect(rows.filter((name) => passes.includes(name as string))).toEqual(passes);
  });
});
