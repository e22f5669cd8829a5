// A maximum that need not note NaN, as it shows anyway: each case is run twice, with a maximum that is NaN where an element is and
// with one that passes over it. Where it is called quiet nothing may differ; where it must not be, something does.

import { describe, expect, it } from 'vitest';
import { compileKernel } from '../../../src/backends/interp/compile-kernel.js';
import type { Kernel } from '../../../src/ir/kernel.js';
import { parseKernelText } from '../../../src/ir/parse-kernel.js';
import { legalizeKernel } from '../../../src/passes/kernel/legalize.js';
import { quietExtrema } from '../../../src/passes/kernel/quiet-extrema.js';

const [ROWS, WIDTH] = [4, 8];
const SIZE = ROWS * WIDTH;

interface Row {
  /** What it is the maximum of. */
  readonly term?: string;
  readonly most?: string;
  readonly op?: 'max' | 'min';
  readonly exp?: string;
  /** Where its loop ends, where the sum's begins to read and how far it goes. */
  readonly part?: readonly [stored: number, from: number, summed: number];
  readonly sum?: string;
  readonly last?: string;
  readonly before?: string;
  readonly between?: string;
  readonly outside?: string;
}

const NOTING = (op: 'max' | 'min'): string => `${op}(acc, TERM)`;
const PASSING = (op: 'max' | 'min'): string => `select(lt(${op === 'max' ? 'acc, TERM' : 'TERM, acc'}), TERM, acc)`;

function kernel(row: Row, take = NOTING): Kernel {
  const { term = '$0[i * 8 + r]', most = 'acc', op = 'max', before = '', between = '', outside = '' } = row;
  const { exp = 'fast_exp($0[i * 8 + c] - m)', sum = '$1[r]', last = 'div($1[c], total)', part = [8, 0, 8] } = row;
  const text = `kernel k (x: read f32[${SIZE}], s: scratch f32[${SIZE}], y: write f32[${SIZE}], z: write f32[${SIZE}]) {
  for i in 0 .. ${ROWS} parallel {
    ${before}
    let mut acc = ${op === 'max' ? '-inf' : 'inf'}:f32
    for r in 0 .. 8 {
      set acc = ${take(op).replaceAll('TERM', term)}
    }
    let m = ${most}
    ${between}
    for c in 0 .. ${part[0]} parallel {
      $1[c] = ${exp}
    }
    let mut acc2 = 0:f32
    for r in ${part[1]} .. ${part[2]} {
      set acc2 = acc2 + ${sum}
    }
    let total = acc2
    for c in 0 .. 8 parallel {
      $2[i * 8 + c] = ${last}
    }
  }
  ${outside}
}`;
  return legalizeKernel(parseKernelText(text));
}

const isQuiet = (row: Row): boolean => quietExtrema(kernel(row)).has('acc');

/** Whether both kinds of maximum lead to the same outputs, for rows with a NaN here and there. */
function isSame(row: Row): boolean {
  const [noting, passing] = [NOTING, PASSING].map((take) => compileKernel(kernel(row, take)));
  for (let at = 0; at < SIZE; at++) {
    const x = Float32Array.from({ length: SIZE }, (_, k) => Math.sin(k * 3.7) * 4);
    x[at] = Number.NaN;
    const outputs = [noting, passing].map((f) => {
      const [s, y, z] = [1, 2, 3].map(() => new Float32Array(SIZE));
      f?.(x, s as Float32Array, y as Float32Array, z as Float32Array);
      return [...(y as Float32Array), ...(z as Float32Array)];
    });
    if (!outputs[0]?.every((v, k) => Object.is(v, outputs[1]?.[k]))) return false;
  }
  return true;
}

const QUIET: readonly (readonly [string, Row])[] = [
  ['a softmax', {}],
  ['a softmin', { op: 'min', exp: 'fast_exp(m - $0[i * 8 + c])' }],
  ['a softmax by the reciprocal of its sum', { last: '$1[c] * div(1:f32, total)' }],
  ['the maximum of what is computed', { term: '$0[i * 8 + r] * 3', exp: 'fast_exp($0[i * 8 + c] * 3 - m)' }],
  ['a number in place of a maximum of −∞', { most: 'select(eq(acc, -inf), 0, acc)' }],
  ['a sum of elements that memory does not go between', { sum: '($0[i * 8 + r] - m)' }],
  ['the logarithm of a softmax', { last: '$0[i * 8 + c] - m - log(total)' }],
];

const COPY = 'for c in 0 .. 8 parallel {\n$1[c] = $0[i * 8 + c]\n}';

const LOUD: readonly (readonly [string, Row])[] = [
  ['the maximum is a result', { between: 'for c in 0 .. 8 parallel {\n$3[i * 8 + c] = m\n}' }],
  ['what is stored is not divided by the sum', { last: '$1[c]' }],
  ['the sum does not follow NaN', { exp: 'select(lt($0[i * 8 + c] - m, 0), 1:f32, 2:f32)' }],
  ['nor one branch of a choice', { exp: 'select(lt(2, m), $0[i * 8 + c] - m, 2:f32)' }],
  ['not all elements are added up', { part: [8, 0, 7] }],
  ['nor from the first', { part: [8, 1, 8] }],
  ['nor stored before', { part: [7, 0, 8] }],
  ['another row’s elements are', { exp: 'fast_exp($0[28 - i * 8 + c - 4] - m)' }],
  ['a result says whether the sum is NaN, and which the maximum is', { last: 'select(lt(total, 1), total, m)' }],
  ['the bits of the maximum go on', { between: 'for c in 0 .. 8 parallel {\n$3[i * 8 + c] = f32(bitcast<i32>(m))\n}' }],
  ['it decides on a loop', { between: 'if lt(m, 3) {\n$3[i] = 1:f32\n}' }],
  ['its memory is read elsewhere', { outside: 'for j in 0 .. 8 parallel {\n$3[j] = $1[j]\n}' }],
];

describe('a maximum need not note NaN', () => {
  it.each(QUIET)('in %s', (_what, row) => {
    expect(isQuiet(row)).toBe(true);
    expect(isSame(row)).toBe(true);
  });

  it.each(LOUD)('unless %s', (_what, row) => {
    expect(isQuiet(row)).toBe(false);
    expect(isSame(row)).toBe(false);
  });

  it('unless the row may have changed before it is added up', () => {
    const change = 'for c in 0 .. 8 parallel {\n$3[i * 8 + c] = 0:f32\n}'; // an output may be where an input is
    expect(isQuiet({ between: change })).toBe(false);
    expect(isQuiet({ between: COPY })).toBe(true); // what only the kernel has is not
  });

  it('unless its memory is used before, where the row before may have left what depends on its maximum', () => {
    expect(isQuiet({ before: COPY, term: '$1[r]', exp: 'fast_exp($1[c] - m)' })).toBe(false);
  });

  it('unless another of the same name has to', () => {
    const outside = `for i in 0 .. 4 parallel {
      let mut acc = -inf:f32
      for r in 0 .. 8 {
        set acc = max(acc, $0[i * 8 + r])
      }
      $3[i] = acc
    }`;
    expect(isQuiet({ outside })).toBe(false);
  });
});
