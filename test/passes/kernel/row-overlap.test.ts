// Blocks of rows that overlap: the last loop of one goes with the first of the next where both are short and walk alike, and
// whatever goes together, the results are those of rows one by one.

import { describe, expect, it } from 'vitest';
import { compileKernel } from '../../../src/backends/interp/compile-kernel.js';
import { parseKernelText } from '../../../src/ir/parse-kernel.js';
import { printKernel } from '../../../src/ir/print-kernel.js';
import type { Kernel } from '../../../src/ir/kernel.js';
import { unscheduled } from '../../../src/passes/schedule/operands.js';
import { blockRows } from '../../../src/passes/schedule/row-blocks.js';

interface Row {
  readonly rows?: number;
  /** What the first loop does beside its sum, what the middle one stores, what the last one does. */
  readonly first?: string;
  readonly middle?: string | null;
  readonly last?: string;
  readonly end?: string;
  readonly step?: number;
  readonly number?: string;
}

const WIDTH = 8;

function kernel({
  rows = 12,
  first = '',
  middle = 'x * m',
  last = '$1[c] * n',
  end = '',
  step = 1,
  number,
}: Row): Kernel {
  const size = rows * WIDTH;
  const between = `let mut acc2 = 0:f32
    for r in 0 .. 8 {
      let x = $0[at + r]
      $1[r] = ${middle}
      set acc2 = acc2 + $1[r]
    }
    let n = acc2`;
  return parseKernelText(`kernel k (x: read f32[${size}], s: scratch f32[${WIDTH}], y: write f32[${size}], z: write f32[${rows}]) {
  for i in 0 .. ${rows} parallel {
    let at = i * ${WIDTH}
    let mut acc = 0:f32
    for r in 0 .. ${WIDTH} {
      ${first}
      set acc = acc + $0[at + r]
    }
    let m = ${number ?? 'acc'}
    ${middle === null ? '' : between}
    for c in 0 .. ${WIDTH} step ${step} parallel {
      $2[at + c] = ${last}
    }
    ${end}
  }
}`);
}

const overlapped = (row: Row): Kernel => blockRows(unscheduled(kernel(row)), 4, true).kernel;

function results(k: Kernel, rows: number): readonly number[] {
  const x = Float32Array.from({ length: rows * WIDTH }, (_, n) => Math.sin(n * 1.3));
  const own = k.params.map((p, slot) => (slot === 0 ? x : new Float32Array(Number(p.size))));
  compileKernel(k)(...own);
  return [...(own[2] as Float32Array), ...(own[3] as Float32Array)];
}

const CASES: readonly (readonly [string, Row])[] = [
  ['with a loop between them', {}],
  ['with none', { middle: null, last: '$0[at + c] * m' }],
  ['where the last loop reads what the first has found out', { last: '$1[c] * n - m' }],
  ['with a number that is stored', { end: '$3[i] = n' }],
];

const APART: readonly (readonly [string, Row])[] = [
  ['the last block is a part of one', { rows: 11 }],
  ['there is one block', { rows: 4 }],
  ['the first loop stores', { first: '$1[r] = $0[at + r]' }],
  ['the last walks otherwise', { step: 2 }],
  ['the last is long', { last: '$1[c] * n + $1[c] * m + $0[at + c]' }],
  ['what stands around them is', { number: Array.from({ length: 33 }).reduce((x: string) => `(${x} * 0.9)`, 'acc') }],
  [
    'the last leaves what the first uses',
    { middle: null, last: '$0[at + c] * m', number: 'acc + $3[i]', end: '$3[i] = m' },
  ],
];

describe('blocks of rows overlap', () => {
  it.each(CASES)('%s', (_what, row) => {
    const text = printKernel(overlapped(row));
    expect(text).toContain('i_over in i_block');
    expect(text).toContain('_end in 8 .. 12');
    expect(results(overlapped(row), 12)).toEqual(results(kernel(row), 12));
  });

  it.each(APART)('unless %s', (_what, row) => {
    const text = printKernel(overlapped(row));
    expect(text).not.toContain('i_over');
    expect(text).toBe(printKernel(blockRows(unscheduled(kernel(row)), 4).kernel));
    const rows = row.rows ?? 12;
    expect(results(overlapped(row), rows)).toEqual(results(kernel(row), rows));
  });

  it('only where blocks may wait for one another', () => {
    expect(printKernel(blockRows(unscheduled(kernel({})), 4).kernel)).not.toContain('i_over');
  });
});
