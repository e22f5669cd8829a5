// Sigmoid and tanh of every 16-bit number, for each number of integer bits a cell state may have, as expressions against
// plain numbers.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { lowerToProgram } from '../../src/compile.js';
import { logisticFixed, tanhFixed } from '../../src/frontend/ops/quantized/fixed-activation.js';
import { createBuilder } from '../../src/ir/builder.js';
import type { Expr } from '../../src/ir/scalar.js';
import type { Value } from '../../src/ir/tensor.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';
import { logistic16, tanh16 } from './integer-lstm-reference.js';

const ALL = Array.from({ length: 2 ** 16 }, (_, k) => k - 2 ** 15);

function onAll(f: (x: Expr) => Expr): readonly number[] {
  const b = createBuilder();
  const body = b.region([{ dtype: 'i32', shape: [ALL.length] }], ([x]) => [b.map([x as Value], f)]);
  const module = { name: 'm', entries: [{ name: 'run', inputNames: ['x'], outputNames: ['y'], body }], states: [] };
  const out = createInterpreter(lowerToProgram(module)).runSync({ x: fromNumbers('i32', [ALL.length], ALL) });
  return Array.from(toNumbers(out.y as Tensor));
}

describe('fixed-point activations of 16 bits', () => {
  it.each([0, 1, 2, 3, 4, 5, 6])('tanh with %i integer bits', (bits) => {
    expect(onAll((x) => tanhFixed(x, bits))).toEqual(ALL.map((v) => tanh16(v, bits)));
  });

  it('sigmoid with 3 integer bits', () => {
    expect(onAll((x) => logisticFixed(x, 3))).toEqual(ALL.map((v) => logistic16(v, 3)));
  });
});
