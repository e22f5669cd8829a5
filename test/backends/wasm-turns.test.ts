// Turns of a loop in the module with relaxed SIMD: eight stores become two times four where nothing depends on their order, and
// compute what they did.

import { describe, expect, it } from 'vitest';
import { compileKernel } from '../../src/backends/interp/compile-kernel.js';
import { shortenTurns } from '../../src/backends/wasm/turns.js';
import type { Kernel, Stmt } from '../../src/ir/kernel.js';
import { visitStmts } from '../../src/ir/kernel-walk.js';
import { parseKernelText } from '../../src/ir/parse-kernel.js';

interface Turn {
  readonly stores?: number;
  readonly access?: 'scratch' | 'write';
  /** Of the value that is stored `k`th, and what is added up of it. */
  readonly value?: (k: number) => string;
  readonly sum?: (k: number) => string;
}

function kernel({
  stores = 8,
  access = 'scratch',
  value = (k) => `x * $0[i + ${k}]`,
  sum = (k) => `v${k}`,
}: Turn): Kernel {
  const each = (make: (k: number) => string): string => Array.from({ length: stores }, (_, k) => make(k)).join('\n');
  return parseKernelText(`kernel k (x: read f32[64], s: ${access} f32[64], y: write f32[1]) {
  let mut acc = 0:f32
  for i in 0 .. 64 step ${stores} {
    let x = $0[i] + 1
    ${each((k) => `let v${k} = ${value(k)}`)}
    ${each((k) => `$1[i + ${k}] = v${k}`)}
    ${each((k) => `set acc = acc * 0.9 + ${sum(k)}`)}
  }
  $2[0] = acc
}`);
}

function results(k: Kernel): readonly number[] {
  const x = Float32Array.from({ length: 64 }, (_, n) => Math.cos(n * 2.3));
  const [s, y] = [new Float32Array(64), new Float32Array(1)];
  compileKernel(k)(x, s, y);
  return [...s, ...y];
}

/** Kinds of statements in the loop, runs of one as one. */
function order(k: Kernel): string {
  const kinds: Stmt['s'][] = [];
  visitStmts(k.body, (s) => {
    if (s.s === 'for') kinds.push(...s.body.map((inner) => inner.s));
  });
  return kinds.filter((kind, n) => kind !== kinds[n - 1]).join(' ');
}

const CASES: readonly (readonly [string, Turn, string])[] = [
  ['four by four', {}, 'let store set let store set'],
  ['of sixteen, too', { stores: 16 }, 'let store set let store set let store set let store set'],
  ['with sums as late as they must', { sum: (k) => `v${7 - k}` }, 'let store let store set'],
];

const WHOLE: readonly (readonly [string, Turn])[] = [
  ['there are no more than four', { stores: 4 }],
  ['they go to memory that may be what is read', { access: 'write' }],
  ['that is what is read', { value: (k) => `x * $1[i + ${k}]` }],
  ['a value is of what is set', { value: (k) => `x * acc * $0[i + ${k}]` }],
];

describe('turns of a loop', () => {
  it.each(CASES)('go %s', (_what, turn, want) => {
    const made = shortenTurns(kernel(turn));
    expect(order(kernel(turn))).toBe('let store set');
    expect(order(made)).toBe(want);
    expect(results(made)).toEqual(results(kernel(turn)));
  });

  it.each(WHOLE)('stay whole where %s', (_what, turn) => {
    expect(shortenTurns(kernel(turn))).toEqual(kernel(turn));
  });
});
