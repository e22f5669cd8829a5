// Golden tests of passes: test/passes/<pass>.ir holds cases, each an input module and, after `// ---- after <pass>`,
// what the pass makes of it. `npm run bless` rewrites the expectations. lower.ir and schedule.ir end in kernels.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { lowerToProgram, optimizeModule } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import { printModule } from '../../src/ir/print.js';
import { printKernel } from '../../src/ir/print-kernel.js';
import type { Module } from '../../src/ir/tensor.js';
import { algebra } from '../../src/passes/algebra.js';
import { commonSubexpressions } from '../../src/passes/common-subexpressions.js';
import { selectConcats } from '../../src/passes/select-concat.js';
import { deadCode } from '../../src/passes/dead-code.js';
import { foldConstants } from '../../src/passes/fold-constants.js';
import { foldScale } from '../../src/passes/fold-scale.js';
import { hoistFactors } from '../../src/passes/hoist-factors.js';
import { fuse } from '../../src/passes/fuse.js';
import { integerSums } from '../../src/passes/integer-sums.js';
import { materialize } from '../../src/passes/materialize.js';
import { narrowIntegers } from '../../src/passes/narrow-integers.js';
import { packConstants } from '../../src/passes/pack-constants.js';
import { padOperands } from '../../src/passes/pad-operands.js';
import { storeHalves } from '../../src/passes/store-halves.js';
import { storeNibbles } from '../../src/passes/store-nibbles.js';
import { winograd } from '../../src/passes/winograd.js';
import type { PassContext } from '../../src/passes/pass.js';

const HERE = dirname(fileURLToPath(import.meta.url));
const BLESS = Boolean(process.env.HEDDLE_BLESS);

type Run = (m: Module) => string;

const pass =
  (run: (m: Module, c: PassContext) => Module): Run =>
  (m) =>
    printModule(optimizeModule(m, { target: 'wasm' }, [{ name: 'golden', doc: '', run }]));

const kernels =
  (target: 'interp' | 'wasm'): Run =>
  (m) =>
    `${lowerToProgram(m, { target })
      .kernels.map((k) => printKernel(k))
      .join('\n')}\n`;

/** By file: what stands under test/passes/<name>.ir. */
const GOLDENS: Readonly<Record<string, Run>> = {
  algebra: pass(algebra),
  'common-subexpressions': pass((m) => deadCode(commonSubexpressions(m))),
  'dead-code': pass(deadCode),
  'fold-constants': pass((m, c) => deadCode(foldConstants(m, c))),
  'fold-scale': pass((m, c) => deadCode(foldConstants(foldScale(m, c), c))),
  'hoist-factors': pass(hoistFactors),
  fuse: pass((m) => deadCode(fuse(m))),
  'fuse-any-index': pass((m) => deadCode(fuse(m, { anyIndex: true }))),
  'integer-sums': pass((m, c) => deadCode(integerSums(m, c))),
  materialize: pass((m) => materialize(m)),
  'narrow-integers': pass(narrowIntegers),
  'pack-constants': pass((m) => deadCode(packConstants(m))),
  'select-concat': pass(selectConcats),
  'pad-operands': pass(padOperands),
  'store-halves': pass(storeHalves),
  'store-nibbles': pass(storeNibbles),
  winograd: pass(winograd),
  lower: kernels('interp'),
  schedule: kernels('wasm'),
};

interface Case {
  readonly title: string;
  readonly input: string;
  readonly expected: string;
}

function readCases(text: string, name: string): Case[] {
  return text
    .split(/^\/\/ ==== /m)
    .slice(1)
    .map((part) => {
      const [head = '', expected = ''] = part.split(new RegExp(`^// ---- after ${name}\\n`, 'm'));
      const end = head.indexOf('\n');
      return { title: head.slice(0, end), input: head.slice(end + 1), expected };
    });
}

for (const [name, run] of Object.entries(GOLDENS))
  describe(name, () => {
    const path = join(HERE, `${name}.ir`);
    const text = readFileSync(path, 'utf8');
    const header = text.slice(0, text.indexOf('// ==== '));
    const results: string[] = [];
    for (const c of readCases(text, name))
      it(c.title, () => {
        const slot = results.push(`// ==== ${c.title}\n${c.input}// ---- after ${name}\n${c.expected}`) - 1; // kept where the pass fails
        const actual = run(parseModule(c.input));
        results[slot] = `// ==== ${c.title}\n${c.input}// ---- after ${name}\n${actual}\n`;
        if (BLESS) return;
        expect(actual.trim(), `${name}.ir is out of date; if the new text is right: npm run bless`).toBe(
          c.expected.trim(),
        );
      });
    if (BLESS) it('is blessed', () => writeFileSync(path, `${header}${results.join('\n').trimEnd()}\n`));
  });
