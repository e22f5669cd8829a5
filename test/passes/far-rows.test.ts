// Which operand of a product is packed: one of which each step of the sum reads another line, far from the last, is better laid
// out than read element by element for every tile.

import { expect, it } from 'vitest';
import { lowerToProgram } from '../../src/compile.js';
import { visitKernelExprs, visitStmts } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';

/** Parameters that fill scratch memory. */
function packed(m: number, k: number, n: number): readonly number[] {
  const module = parseModule(`module "m" {
  entry "run" ("a": %0 "a" f32[${m}, ${k}], "b": %1 "b" f32[${k}, ${n}]) {
    %2 "c" = einsum "ac,cb->ab" %0, %1 : f32[${m}, ${n}]
    return "c": %2
  }
}
`);
  const kernel = lowerToProgram(module, { target: 'wasm' }).kernels[0];
  const sources = new Set<number>();
  visitStmts(kernel?.body ?? [], (s) => {
    if (s.s !== 'store' || kernel?.params[s.buf]?.access !== 'scratch') return;
    visitKernelExprs([s], (x) => {
      if (x.k === 'load') sources.add(x.src);
    });
  });
  return [...sources];
}

it('the rows of a wide second operand are packed, however few rows the first has', () => {
  expect(packed(128, 768, 3072)).toEqual([1]);
  expect(packed(64, 512, 1024)).toEqual([1]);
});
