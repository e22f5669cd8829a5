// An upper bound on an element less its row's maximum goes where the loops prove it needless, and nowhere else.

import { describe, expect, it } from 'vitest';
import { parseKernelText } from '../../../src/ir/parse-kernel.js';
import { printKernel } from '../../../src/ir/print-kernel.js';
import { dropRowBounds } from '../../../src/passes/kernel/row-bounds.js';

const kernel = (
  between: string,
  last: string,
): string => `kernel k (x: read f32[64], s: scratch f32[64], y: write f32[64], z: write f32[64]) {
  for i in 0 .. 8 parallel {
    let mut acc = -inf:f32
    for r in 0 .. 8 {
      set acc = max(acc, $0[i * 8 + r])
    }
    let m = acc
    ${between}
    ${last}
  }
}`;

const keepsBound = (between: string, last: string, most = 'acc'): boolean => {
  const before = parseKernelText(kernel(between, last).replace('let m = acc', `let m = ${most}`));
  return printKernel(dropRowBounds(before)).includes('min(');
};

const store = (value: string, hi = 8): string => `for c in 0 .. ${hi} parallel {\n$1[c] = ${value}\n}`;
const DIFFERENCE = 'min($0[i * 8 + c] - m, 89)';

describe('a bound above an element less the maximum of its row', () => {
  it('goes where the row is stored, where it is summed, and behind stores to other memory of the kernel', () => {
    expect(keepsBound('', store(`max(${DIFFERENCE}, -88)`))).toBe(false);
    expect(keepsBound('', store('min($0[i * 8 + c] - m, 0)'))).toBe(false);
    expect(
      keepsBound('', 'let mut sum = 0:f32\nfor c in 0 .. 8 {\nset sum = sum + min($0[i * 8 + c] - m, 89)\n}'),
    ).toBe(false);
    expect(keepsBound(store('$0[c]'), store(DIFFERENCE))).toBe(false);
  });

  it('goes where a number stands for a maximum of −∞, which is all that may', () => {
    expect(keepsBound('', store(DIFFERENCE), 'select(eq(acc, -inf), 0, acc)')).toBe(false);
    for (const most of [
      'select(eq(acc, 5), 0, acc)',
      'select(eq(acc, -inf), -inf, acc)',
      'select(lt(acc, -inf), 0, acc)',
    ])
      expect(keepsBound('', store(DIFFERENCE), most), most).toBe(true);
  });

  it.each([
    ['a bound below 0', '', store('min($0[i * 8 + c] - m, -1)')],
    ['another element', '', store('min($0[i * 8 + c + 1] - m, 89)')],
    ['the other way round', '', store('min(m - $0[i * 8 + c], 89)')],
    ['more elements than the maximum is of', '', store(DIFFERENCE, 9)],
    ['another row', '', `for j in 0 .. 8 parallel {\n${store('min($0[j * 8 + c] - m, 89)')}\n}`],
    ['a store that may share memory with the row', 'for c in 0 .. 8 parallel {\n$3[c] = $0[c]\n}', store(DIFFERENCE)],
    [
      'a maximum of the same name',
      'let k = 1',
      `for j in 0 .. 8 parallel {\nlet m = $0[j]\n$1[j] = min($0[i * 8 + j] - m, 89)\n}`,
    ],
  ])('stays for %s', (_what, between, last) => {
    expect(keepsBound(between, last)).toBe(true);
  });

  it('goes where the row is overwritten element by element, and stays behind that', () => {
    const text = `kernel k (s: scratch f32[8], y: write f32[8]) {
  let mut acc = -inf:f32
  for r in 0 .. 8 {
    set acc = max(acc, $0[r])
  }
  let m = acc
  for c in 0 .. 8 parallel {
    $0[c] = min($0[c] - m, 1)
  }
  for c in 0 .. 8 parallel {
    $1[c] = min($0[c] - m, 2)
  }
}`;
    const out = printKernel(dropRowBounds(parseKernelText(text)));
    expect(out).not.toContain(', 1)');
    expect(out).toContain('min($0[c] - m, 2)');
  });
});
