// Rows a few at a time: where a row's loops wait for one number, each is done for all rows of a block before the next; where
// more than numbers would have to wait, or memory is another's, rows stay one by one.

import { describe, expect, it } from 'vitest';
import { parseKernelText } from '../../../src/ir/parse-kernel.js';
import { printKernel } from '../../../src/ir/print-kernel.js';
import { blockRows } from '../../../src/passes/schedule/row-blocks.js';
import { unscheduled } from '../../../src/passes/schedule/operands.js';

interface Row {
  readonly rows?: number;
  readonly width?: number;
  /** Between the sum and what is done with it. */
  readonly between?: string;
  readonly number?: string;
  readonly last?: string;
  readonly outside?: string;
}

const text = ({ rows = 9, width = 8, between = '', number = 'let m = acc', last = '$1[c] * m', outside = '' }: Row) =>
  `kernel k (x: read f32[${rows * width}], s: scratch f32[${width}], y: write f32[${rows * width}]) {
  for i in 0 .. ${rows} parallel {
    let at = i * ${width}
    let mut acc = 0:f32
    for r in 0 .. ${width} {
      $1[r] = $0[at + r] + 1
      set acc = acc + $0[at + r]
    }
    ${number}
    ${between}
    for c in 0 .. ${width} parallel {
      $2[at + c] = ${last}
    }
  }
  ${outside}
}`;

const blocked = (row: Row, rows = 4) => blockRows(unscheduled(parseKernelText(text(row))), rows);
const printed = (row: Row, rows?: number): string => printKernel(blocked(row, rows).kernel);

describe('rows in blocks', () => {
  it('keep each number of a block and a stretch of the row’s memory, in memory of the call', () => {
    const { kernel, operands } = blocked({});
    expect(kernel.params.map((p) => [p.access, p.size])).toEqual([
      ['read', 72],
      ['scratch', 32],
      ['write', 72],
      ['scratch', 4],
    ]);
    expect(operands.map((o) => o.kind)).toEqual(['given', 'given', 'given', 'scratch']);
    const out = printKernel(kernel);
    expect(out).toContain('for i_block in 0 .. 9 step 4 parallel');
    expect(out).toContain('for i in i_block .. min(i_block + 4, 9)');
    expect(out).toContain('let m_i_phase1 = $3[i_phase1 - i_block]');
    expect(out).toContain('let at_i_phase1 = i_phase1 * 8'); // done again rather than kept
  });

  it('are as many as there are, and end with the rows where these are so many blocks', () => {
    expect(printed({ rows: 3 })).toContain('for i in i_block .. i_block + 3');
    expect(printed({ rows: 8 })).toContain('for i in i_block .. i_block + 4');
  });

  it.each<[string, Row, number?]>([
    ['one row at a time is wanted', {}, 1],
    ['there is one row', { rows: 1 }],
    ['nothing waits for a number', { number: '', last: '$1[c] * 2' }],
    ['a vector would have to wait', { number: 'let v = splat<f32x4>(acc)', last: '$1[c] * extract<f32>(v)' }],
    ['a variable that is set again would', { last: '$1[c] * acc' }],
    ['rows are long', { width: 1024 }],
    ['its memory is used outside', { outside: 'for j in 0 .. 8 {\n$1[j] = 0:f32\n}' }],
  ])('are none where %s', (_what, row, rows) => {
    expect(printed(row, rows)).toBe(printKernel(parseKernelText(text(row))));
  });
});
