// A size as i32 arithmetic over its symbols' variables. Divisions are floored; where the dividend cannot be negative they
// are plain divisions.

import { type Atom, bounds, type Dim, type Term } from '../../ir/dim.js';
import { expandMacro } from '../../ir/macros.js';
import { type Expr, i32, op, variable } from '../../ir/scalar.js';
import { never } from '../../support/errors.js';

export function expandDim(dim: Dim): Expr {
  if (typeof dim === 'number') return i32(dim);
  const sum = dim.terms.map(expandTerm).reduce((a, b) => op('add', a, b), i32(0));
  return op('add', sum, i32(dim.constant));
}

function expandTerm({ coef, factors }: Term): Expr {
  const product = factors.map(expandAtom).reduce((a, b) => op('mul', a, b));
  return op('mul', product, i32(coef));
}

function expandAtom(atom: Atom): Expr {
  if (atom.kind === 'sym') return variable(atom.sym.name, 'i32');
  const a = expandDim(atom.a);
  const b = expandDim(atom.b);
  const isNatural = bounds(atom.a)[0] >= 0;
  switch (atom.kind) {
    case 'min':
    case 'max':
      return op(atom.kind, a, b);
    case 'floordiv':
      return isNatural ? op('div', a, b) : expandMacro('floordiv', [a, b], 'i32');
    case 'mod':
      return isNatural ? op('rem', a, b) : expandMacro('floormod', [a, b], 'i32');
    default:
      return never(atom, 'size');
  }
}
