// Scalar expressions: what rewriting them promises.

import { expect, it } from 'vitest';
import { e } from '../../src/ir/expr.js';
import { exprKey, i32, substituteVars, variable } from '../../src/ir/scalar.js';

it('variables are replaced all at once, even where a sum folds to what replaces one', () => {
  const [i, j, k] = ['i', 'j', 'k'].map((name) => variable(name, 'i32'));
  if (!i || !j || !k) throw new Error('three variables');
  const swapped = substituteVars(
    e.sub(i, e.mul(j, 2)),
    new Map([
      ['i', j],
      ['j', i],
    ]),
  );
  expect(exprKey(swapped)).toBe(exprKey(e.sub(j, e.mul(i, 2))));
  const folded = substituteVars(
    e.add(e.mul(i, 2), j),
    new Map([
      ['i', i32(0)],
      ['j', i],
    ]),
  );
  expect(exprKey(folded)).toBe(exprKey(i));
  expect(exprKey(substituteVars(folded, new Map([['i', k]])))).toBe(exprKey(k));
});
