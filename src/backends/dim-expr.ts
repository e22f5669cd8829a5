// Sizes as i32 expressions, so that the one expression printer spells them too.

import { type Atom, bounds, type Dim } from '../ir/dim.js';
import { type Expr, i32, op, rawOp, select, variable } from '../ir/scalar.js';

/** The arithmetic of a Dim over `var` reads named as its symbols. Floored division, as Dim has it. */
export function dimToExpr(dim: Dim): Expr {
  if (typeof dim === 'number') return i32(dim);
  const sum = dim.terms
    .map((t) => t.factors.map(atomToExpr).reduce((p, f) => op('mul', p, f), i32(t.coef) as Expr))
    .reduce((a, b) => op('add', a, b));
  return op('add', sum, i32(dim.constant));
}

function atomToExpr(a: Atom): Expr {
  if (a.kind === 'sym') return variable(a.sym.name, 'i32');
  const x = dimToExpr(a.a);
  const y = dimToExpr(a.b);
  if (a.kind === 'min' || a.kind === 'max') return op(a.kind, x, y);
  const whole = op('div', x, y);
  const rest = op('rem', x, y);
  const isFloored = bounds(a.a)[0] >= 0;
  if (a.kind === 'floordiv')
    return isFloored ? whole : select(rawOp('lt', rest, i32(0)), op('sub', whole, i32(1)), whole);
  return isFloored ? rest : select(rawOp('lt', rest, i32(0)), op('add', rest, y), rest);
}
