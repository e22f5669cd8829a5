// Index arithmetic over sizes as data the host evaluates (runtime/io.ts). Quotients are of non-negative numbers here, where
// truncated and floored division agree.

import type { Expr } from '../../ir/scalar.js';
import type { Size } from '../../runtime/io.js';
import { InternalError } from '../../support/errors.js';
import { sizeOfDim } from '../entry-spec.js';

const OPS = { add: '+', mul: '*', div: '//', rem: '%', min: 'min', max: 'max' } as const;

/** `syms` gives each variable's size. */
export function sizeOfExpr(x: Expr, syms: ReadonlyMap<string, Size>): Size {
  if (x.k === 'const') return Number(x.value);
  if (x.k === 'dim') return sizeOfDim(x.dim);
  const known = x.k === 'var' ? syms.get(x.name) : undefined;
  if (known !== undefined) return known;
  if (x.k === 'op') {
    const [a, b] = x.args.map((y) => sizeOfExpr(y, syms)) as [Size, Size];
    if (x.op === 'sub') return fold('+', a, fold('*', -1, b));
    if ((x.op === 'shr_s' || x.op === 'shr_u') && typeof b === 'number') return fold('//', a, 2 ** b);
    if (x.op === 'shl' && typeof b === 'number') return fold('*', a, 2 ** b);
    if (x.op === 'and' && typeof b === 'number' && (b & (b + 1)) === 0) return fold('%', a, b + 1);
    if (x.op in OPS) return fold(OPS[x.op as keyof typeof OPS], a, b);
  }
  throw new InternalError(`internal: a grid whose size is ${x.k === 'op' ? x.op : x.k}`);
}

const fold = (op: '+' | '*' | '//' | '%' | 'min' | 'max', a: Size, b: Size): Size => {
  if (typeof a !== 'number' || typeof b !== 'number') return [op, a, b];
  if (op === '+') return a + b;
  if (op === '*') return a * b;
  if (op === 'min' || op === 'max') return Math[op](a, b);
  return op === '//' ? Math.floor(a / b) : a - Math.floor(a / b) * b;
};
