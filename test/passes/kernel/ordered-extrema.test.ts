// A vector's running extremum becomes a choice and a note of NaN, which whoever reads the result puts in.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../../src/backends/interp/interpreter.js';
import { openSession } from '../../../src/cli/targets.js';
import { lowerToProgram } from '../../../src/compile.js';
import { parseKernelText } from '../../../src/ir/parse-kernel.js';
import { parseModule } from '../../../src/ir/parse.js';
import { printKernel } from '../../../src/ir/print-kernel.js';
import { orderExtrema } from '../../../src/passes/kernel/ordered-extrema.js';
import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';

const kernel = (init: string, step: string): string => `kernel k (x: read f32[64], y: write f32[4]) {
  let mut acc = ${init}
  for i in 0 .. 16 {
    set acc = ${step}
  }
  $1[0] = acc
}`;

const rewritten = (init: string, step: string, numerics: 'fast' | 'strict' = 'fast'): string =>
  printKernel(orderExtrema(parseKernelText(kernel(init, step)), numerics));

const LEAST = 'splat<f32x4>(-inf:f32)';

describe('running extrema', () => {
  it('are chosen, and NaN is noted beside', () => {
    expect(rewritten(LEAST, 'max(acc:f32x4, $0[i * 4]:f32x4)')).toBe(`kernel k (x: read f32[64], y: write f32[4]) {
  let mut acc = splat<f32x4>(-inf:f32)
  let mut acc_ordered = splat<i1x4>(true)
  for i in 0 .. 16 {
    set acc = select(lt(acc, $0[i * 4]:f32x4), $0[i * 4]:f32x4, acc)
    set acc_ordered = and(acc_ordered, eq($0[i * 4]:f32x4, $0[i * 4]:f32x4))
  }
  $1[0] = select(acc_ordered, acc, splat<f32x4>(nan:f32))
}`);
  });

  it.each([
    ['strict numerics', LEAST, 'max(acc:f32x4, $0[i * 4]:f32x4)', 'strict'],
    ['a scalar', '-inf:f32', 'max(acc, $0[i])', 'fast'],
    ['a start that is no number', 'splat<f32x4>(nan:f32)', 'max(acc:f32x4, $0[i * 4]:f32x4)', 'fast'],
    ['a start that nobody knows', '$0[0]:f32x4', 'max(acc:f32x4, $0[i * 4]:f32x4)', 'fast'],
    ['a sum', LEAST, 'acc:f32x4 + $0[i * 4]:f32x4', 'fast'],
    ['a step that reads the result otherwise', LEAST, 'max(acc:f32x4, acc:f32x4 * $0[i * 4]:f32x4)', 'fast'],
  ] as const)('stay as they are: %s', (_, init, step, numerics) => {
    expect(rewritten(init, step, numerics)).toBe(printKernel(parseKernelText(kernel(init, step))));
  });

  it.each(['wasm', 'c'] as const)('of windows find NaN wherever it is: %s', async (target) => {
    const [size, out] = [19, 9];
    for (const op of ['max', 'min']) {
      const text = `module "m" {
  entry "run" ("x": %0 f32[2, ${size}, ${size}]) {
    %1 = generic %0 : f32[2, ${out}, ${out}] reduce ${op} [3, 3] = $0[i0, i1 * 2 + r0, i2 * 2 + r1]
    return "y": %1
  }
}
`;
      const compiled = (to?: 'wasm' | 'c') => lowerToProgram(parseModule(text), to ? { target: to, cpu: 'avx2' } : {});
      const session = await openSession(target, compiled(target));
      for (const at of [0, 5, 40, 180, 360, 361, 500, 721]) {
        const values = Array.from({ length: 2 * size * size }, (_, k) => (k === at ? Number.NaN : Math.sin(k * 7)));
        values[(at + 300) % values.length] = at % 2 ? Infinity : -Infinity;
        const x = fromNumbers('f32', [2, size, size], values);
        const want = createInterpreter(compiled()).runSync({ x }).y as Tensor;
        expect((await session.run({ x })).y, `${op}, NaN at ${at}`).toEqual(want);
      }
      await session.close();
    }
  });
});
