// Shape folding: what small integer tensors hold is found out as exact sizes, through primitives alone, and data never is.

import { describe, expect, it } from 'vitest';
import { createBuilder } from '../../src/ir/builder.js';
import { dimKey, type Sym, symDim } from '../../src/ir/dim.js';
import { e } from '../../src/ir/expr.js';
import { parseModule } from '../../src/ir/parse.js';
import { symbolicValues } from '../../src/ir/symbolic.js';
import type { Value } from '../../src/ir/tensor.js';

const N: Sym = { name: 'n', lo: 1, hi: 512 };

/** What the first result of a module's text holds. */
function valuesOf(nodes: string, result: string): readonly string[] | null {
  const m = parseModule(
    `module "m" { sym n : 1 .. 512 entry "run" ("x": %0 f32[n, 8], "i": %1 i64[2]) { ${nodes} return "y": ${result} } }`,
  );
  return symbolicValues(m.entries[0]?.body.results[0] as Value)?.map(dimKey) ?? null;
}

describe('shape chains', () => {
  it('Shape → Gather → Concat → arithmetic folds to sizes', () => {
    const text = `
      %2 = dim [n, 8] : i64[2]
      %3 = const i64[1] [0]
      %4 = generic %2, %3 : i64[1] = $0[i32($1[i0])]
      %5 = const i64[1] [-1]
      %6 = concat %4, %5 : i64[2] axis 0
      %7 = mul %6, 2 : i64[2]`;
    expect(valuesOf(text, '%7')).toEqual(['2*n', '-2']);
  });

  it('views move sizes about', () => {
    const text = `
      %2 = dim [n, 8, 3, 2 * n] : i64[4]
      %3 = reshape %2 : i64[2, 2]
      %4 = view %3 : i64[2, 2] at [i1, i0]
      %5 = view %4 : i64[2] at [1 - i0, 0]`;
    expect(valuesOf(text, '%5')).toEqual(['8', 'n']);
  });

  it('products and maxima over sizes fold', () => {
    const dims = '%2 = dim [n, 8, 3] : i64[3]';
    expect(valuesOf(`${dims} %3 = generic %2 : i64[] reduce mul [3] = $0[r0]`, '%3')).toEqual(['24*n']);
    expect(valuesOf(`${dims} %3 = generic %2 : i64[] reduce max [3] = $0[r0]`, '%3')).toEqual(['max(8, n)']);
  });

  it('comparisons fold where bounds decide them, choices follow', () => {
    const at = (limit: number): readonly string[] | null =>
      valuesOf(`%2 = dim [n] : i64[1] %3 = generic %2 : i64[1] = select(lt($0[i0], ${limit}), 7:i64, $0[i0])`, '%3');
    expect(at(1000)).toEqual(['7']);
    expect(at(1)).toEqual(['n']);
    expect(at(100)).toBeNull();
  });

  it('scales of a resize take part as floats', () => {
    expect(
      valuesOf('%2 = const f32[1] [2.5] %3 = generic %2 : i64[1] = i64(floor(f32(8:i64) * $0[i0]))', '%3'),
    ).toEqual(['20']);
  });
});

describe('data is not a shape', () => {
  it('inputs are unknown, and so is what depends on them', () => {
    expect(valuesOf('%2 = add %1, 1 : i64[2]', '%2')).toBeNull();
  });

  it('a concatenation with an unknown part is unknown as a whole', () => {
    expect(
      valuesOf('%2 = dim [n, 4] : i64[2] %3 = concat %1, %2 : i64[4] axis 0 %4 = view %3 : i64[1] at [i0 + 2]', '%4'),
    ).toBeNull();
  });

  it('values of a builder are those of its primitives', () => {
    const b = createBuilder();
    const v = b.map([b.dims([symDim(N), 4])], (x) => e.sub(x, 1));
    expect(b.values(v)?.map(dimKey)).toEqual(['(n + -1)', '3']);
  });
});
