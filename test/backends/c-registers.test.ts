// Sixteen registers of x86: tiles whose sums, columns and a row's value fill them leave none to what stays the same while
// rows go by, and gcc is not to write out steps that would share what they load.

import { describe, expect, it } from 'vitest';
import { emitC } from '../../src/backends/c/emit.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Cpu } from '../../src/passes/schedule/cpus.js';

const textOf = (module: string, cpu: Cpu = 'avx2'): string =>
  String(emitC(lowerToProgram(parseModule(module), { target: 'c', cpu }), { prefix: 'm' })['m.c']);

/** Rows of the largest tile. */
const rowsOf = (text: string): number =>
  1 + Math.max(...[...text.matchAll(/\bacc_(\d+)_0\b/g)].map((m) => Number(m[1])));

const product = (store: string): string => `module "product" {
  entry "run" ("a": %0 f32[198, 96]) {
    %1 "w" = const f32[96, 768] random(3)
    %2 "bias" = const f32[768] random(5)
    %3 "y" = generic %0, %1, %2 : f32[198, 768] reduce add [96] = $0[i0, r0] * $1[r0, i1] then ${store} @ MatMul "y" 0
    return "y": %3
  }
}
`;

/** Of windows of three by three. */
const convolution = (size: number): string => `module "conv" {
  entry "run" ("a": %0 f32[1, 48, ${size + 2}, ${size + 2}]) {
    %1 "w" = const f32[96, 48, 3, 3] random(5)
    %2 "y" = generic %0, %1 : f32[1, 96, ${size}, ${size}] reduce add [48, 3, 3] = $0[0, r0, i2 + r1, i3 + r2] * $1[i1, r0, r1, r2] @ Conv "y" 0
    return "y": %2
  }
}
`;

describe('registers of x86', () => {
  it('are six rows of two vectors, and fewer beside a bias', () => {
    expect(rowsOf(textOf(product('max(acc, 0)')))).toBe(6);
    expect(rowsOf(textOf(product('acc + $2[i1]')))).toBeLessThan(6);
    expect(rowsOf(textOf(product('acc + $2[i1]'), 'avx512'))).toBeGreaterThanOrEqual(6);
  });

  it('keep vectors of the innermost loop only', () => {
    const text = textOf(product('acc + $2[i1]'));
    const held = text.split('\n').filter((l) => /= held_f32x8\(/.test(l));
    expect(held).toHaveLength(2);
    expect(text).toMatch(/^ {4}const f32x8 \w+ = load_f32x8\(\w+ \+ i1\);$/m);
  });

  it('are what loops of short windows are not written out for', () => {
    const text = textOf(convolution(18));
    expect(rowsOf(text)).toBeGreaterThan(4);
    expect(text).toMatch(/CROWDED\n *for \(int32_t r2\w* = 0; r2\w* < 3;/);
    expect(textOf(convolution(18), 'sse2')).not.toContain('CROWDED');
  });
});

describe('a first level of 32 KB', () => {
  /** So many rows of 48 columns that 1280 others read. */
  const columns = (depth: number): string => `module "columns" {
  entry "run" ("a": %0 f32[${depth}, 48]) {
    %1 "w" = const f32[1280, ${depth}] random(3)
    %2 "y" = generic %0, %1 : f32[1280, 48] reduce add [${depth}] = $0[r0, i1] * $1[i0, r0] @ MatMul "y" 0
    return "y": %2
  }
}
`;

  it('holds what is read in place, and panels of what it does not hold', () => {
    const fills = (text: string): boolean => /store_f32x8\(\w+ \+ [^;]*load_f32x8/.test(text);
    expect([fills(textOf(columns(96))), fills(textOf(columns(320)))]).toEqual([false, true]);
  });
});
