// How many vectors go side by side: four of a chain, eight of a narrow one, two where a step offers several operations at a time, and no more than
// the target has use for.

import { describe, expect, it } from 'vitest';
import { WASM_VECTORS } from '../../src/backends/wasm/vector-target.js';
import { expandMacro } from '../../src/ir/macros.js';
import { type Expr, type MacroOp, rawOp, variable } from '../../src/ir/scalar.js';
import { CPUS } from '../../src/passes/schedule/cpus.js';
import { measure, vectorsAtOnce } from '../../src/passes/schedule/latency.js';

const x = variable('x', 'f32');
const y = variable('y', 'f32');
const macro = (op: MacroOp): Expr => expandMacro(op, [x], 'f32');
/** Operations that wait for one another. */
const chain = (length: number, from = x): Expr =>
  Array.from({ length }).reduce((y: Expr) => rawOp('mul', y, rawOp('add', y, from)), from);

describe('vectors at once', () => {
  it('count what is shared once', () => {
    expect(measure([chain(5)])).toEqual({ count: 10, depth: 10 });
    expect(measure([x])).toEqual({ count: 0, depth: 0 });
  });

  it('are four of a chain and two of what is wide, where the target gains by it', () => {
    expect(vectorsAtOnce([macro('fast_exp')], WASM_VECTORS)).toBe(4);
    expect(vectorsAtOnce([macro('fast_erf')], WASM_VECTORS)).toBe(4);
    expect(vectorsAtOnce([rawOp('add', chain(6), chain(6, y))], WASM_VECTORS)).toBe(2);
    expect(vectorsAtOnce([macro('fast_exp')], CPUS.avx512)).toBe(1);
  });

  it('are eight of a chain that offers one operation at a time, where as few are left over', () => {
    const difference = expandMacro('fast_exp', [rawOp('sub', x, y)], 'f32');
    const of = (vectors: number | null): number => vectorsAtOnce([difference], WASM_VECTORS, vectors);
    expect([8, 11, 32, 33].map(of)).toEqual([8, 8, 8, 8]);
    expect([7, 12, 15, null].map(of)).toEqual([4, 4, 4, 4]);
    expect(vectorsAtOnce([macro('fast_exp')], WASM_VECTORS, 32)).toBe(4);
    expect(vectorsAtOnce([difference], CPUS.avx512, 32)).toBe(1);
  });

  it('are several of short steps everywhere, and one of steps that are long by themselves', () => {
    for (const target of [WASM_VECTORS, CPUS.avx2]) {
      expect(vectorsAtOnce([rawOp('mul', x, x)], target)).toBe(4);
      expect(vectorsAtOnce([chain(40)], target)).toBe(1);
    }
    expect(vectorsAtOnce([chain(5)], CPUS.avx2)).toBe(2);
  });
});
