// The integer arithmetic of narrow floats against support/float.ts: every bit pattern, and around every rounding boundary.

import { describe, expect, it } from 'vitest';
import { variable } from '../../../src/ir/scalar.js';
import { decodeNarrow, encodeNarrow, roundNarrow } from '../../../src/passes/kernel/legalize-float.js';
import { DTYPE_INFO } from '../../../src/support/dtype.js';
import { decodeFloat, encodeFloat, type NarrowFloat } from '../../../src/support/float.js';
import { compileExpr } from '../../ir/scalar-js.js';

const KINDS: readonly NarrowFloat[] = [
  'f16',
  'bf16',
  'f8e4m3fn',
  'f8e4m3fnuz',
  'f8e5m2',
  'f8e5m2fnuz',
  'f8e8m0',
  'f4e2m1',
];

const f32 = new Float32Array(1);
const i32 = new Int32Array(f32.buffer);

function nextF32(x: number, step: number): number {
  f32[0] = x;
  i32[0] = (i32[0] as number) + step;
  return f32[0] as number;
}

/** Every finite value, every midpoint, their neighbours, and specials. */
function* boundaries(kind: NarrowFloat): Generator<number> {
  const codes = 2 ** Math.min(DTYPE_INFO[kind].bits, 15);
  const values = Array.from({ length: codes }, (_, c) => decodeFloat(kind, c)).filter(Number.isFinite);
  values.sort((a, b) => a - b);
  for (const [n, v] of values.entries()) {
    const next = values[n + 1] ?? v * 1.5;
    for (const x of [v, Math.fround((v + next) / 2)]) {
      for (const y of [x, nextF32(x, 1), nextF32(x, -1)]) yield* [y, -y];
    }
  }
  for (const x of [0, 1e-45, 1e-39, 2 ** -126, 65504, 65519.99, 65520, 3.4e38, Number.POSITIVE_INFINITY])
    yield* [x, -x];
  yield Number.NaN;
}

describe.each(KINDS)('%s', (kind) => {
  it('decodes every bit pattern exactly', () => {
    const decode = compileExpr(decodeNarrow(kind, variable('c', 'i32')), ['c']);
    for (let c = 0; c < 2 ** DTYPE_INFO[kind].bits; c++) {
      const [got, want] = [decode(c), decodeFloat(kind, c)];
      if (!Object.is(got, want)) expect(`${c} → ${got}`).toBe(`${c} → ${want}`);
    }
  });

  it('encodes and rounds to nearest even, as Cast does', () => {
    const encode = compileExpr(encodeNarrow(kind, variable('x', 'f32')), ['x']);
    const round = compileExpr(roundNarrow(kind, variable('x', 'f32')), ['x']);
    for (const raw of boundaries(kind)) {
      const x = Math.fround(raw);
      const want = encodeFloat(kind, x);
      const got = encode(x);
      if (got !== want) expect(`${x} → ${got}`).toBe(`${x} → ${want}`);
      const value = decodeFloat(kind, want);
      if (!Object.is(round(x), value)) expect(`${x} ~ ${round(x)}`).toBe(`${x} ~ ${value}`);
    }
  });
});
