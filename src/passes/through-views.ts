// Indices through views: where an element of a view lies in what the view was made of. Readers that index through need
// no copy. A reshape is followed where that needs no division, or where the caller would rather divide than copy.

import { bounds, type Dim, dimEq, product, sub } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { dimExpr, type Expr, i32, substituteVars } from '../ir/scalar.js';
import type { NodeOf, Value } from '../ir/tensor.js';

/** Maps an index of the outermost view to the innermost source; null at a reshape that is not free to follow. */
export function throughViews(index: readonly Expr[], views: readonly Value[], divide = false): readonly Expr[] | null {
  let at: readonly Expr[] = index;
  for (const v of views) {
    const n = v.node as NodeOf<'view'>;
    if (n.map === 'reshape') {
      const next = throughReshape(at, v.type.shape, (n.inputs[0] as Value).type.shape, divide);
      if (!next) return null;
      at = next;
    } else {
      const env = new Map(at.map((x, k): [string, Expr] => [`i${k}`, x]));
      at = n.map.map((x) => substituteVars(x, env));
    }
  }
  return at;
}

/**
 * Unit axes come and go, and axes merge (a·n + b). With `divide` an axis also splits, or several regroup.
 */
export function throughReshape(
  index: readonly Expr[],
  from: readonly Dim[],
  to: readonly Dim[],
  divide = false,
): readonly Expr[] | null {
  const out: Expr[] = [];
  let k = 0;
  for (let j = 0; j < to.length; ) {
    if (to[j] === 1) {
      out.push(i32(0));
      j++;
      continue;
    }
    // The shortest runs of axes on both sides that have as many elements.
    const sizes: Dim[] = [to[j] as Dim];
    j++;
    let total: Dim = 1;
    let merged: Expr | null = null;
    while (!(merged && dimEq(total, product(sizes)))) {
      const mine = product(sizes);
      const d = from[k];
      if (d !== undefined && !(merged && exceeds(total, mine))) {
        const x = index[k] as Expr;
        k++;
        if (d === 1) continue;
        merged = merged ? e.add(e.mul(merged, dimExpr(d)), x) : x;
        total = product([total, d]);
      } else if (divide && j < to.length) sizes.push(to[j++] as Dim);
      else return null;
    }
    const parts = splitIndex(merged, sizes);
    if (!parts) return null;
    out.push(...parts);
  }
  return from.slice(k).every((d) => d === 1) ? out : null;
}

/** Whether a run is certainly the longer one, so that the other has to grow. */
const exceeds = (a: Dim, b: Dim): boolean => bounds(sub(a, b))[0] > 0;

/** Row-major position `flat` as an index; null where a divisor may be 0. */
function splitIndex(flat: Expr, sizes: readonly Dim[]): readonly Expr[] | null {
  const out: Expr[] = [];
  let rest = flat;
  for (let k = sizes.length - 1; k > 0; k--) {
    const size = sizes[k];
    if (size === 1) {
      out.unshift(i32(0));
      continue;
    }
    if (size === undefined || bounds(size)[0] < 1) return null;
    out.unshift(e.rem(rest, dimExpr(size)));
    rest = e.div(rest, dimExpr(size));
  }
  return [rest, ...out];
}
