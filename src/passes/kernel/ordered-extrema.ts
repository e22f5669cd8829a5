// A vector's running minimum or maximum, in fast numerics: the machine's own choice at each step, NaN noted beside it and
// put in where the result is read. The operation itself takes most machines several instructions to see to NaN and to
// zeros of both signs, one waiting for the other.

import { mentions } from '../../ir/affine.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, visitStmts } from '../../ir/kernel-walk.js';
import { constant, type Expr, rawOp, rewriteExpr, select, variable } from '../../ir/scalar.js';
import { splat } from '../schedule/vectorize.js';

/** The lesser or greater as machines choose it: the accumulator where either is NaN. */
export const pick = (op: 'min' | 'max', acc: Expr, x: Expr): Expr =>
  select(op === 'max' ? rawOp('lt', acc, x) : rawOp('lt', x, acc), x, acc);

type Set = Extract<Stmt, { s: 'set' }>;

interface Step {
  readonly op: 'min' | 'max';
  readonly x: Expr;
}

export function orderExtrema(kernel: Kernel, numerics: 'fast' | 'strict'): Kernel {
  const lanes = numerics === 'fast' ? accumulators(kernel.body) : new Map<string, number>();
  if (lanes.size === 0) return kernel;
  const memo = new Map<Expr, Expr>();
  const result = (y: Expr): Expr => {
    const n = y.k === 'var' ? lanes.get(y.name) : undefined;
    return y.k === 'var' && n ? select(flagOf(y.name, n), y, splat(constant(Number.NaN, 'f32'), n)) : y;
  };
  const read = (x: Expr): Expr => rewriteExpr(x, result, memo);
  const walk = (body: readonly Stmt[]): readonly Stmt[] =>
    body.flatMap((s): readonly Stmt[] => {
      const n = s.s === 'let' || s.s === 'set' ? lanes.get(s.var) : undefined;
      if (!n || (s.s !== 'let' && s.s !== 'set')) return [mapStmt(s, read, walk)];
      const name = nameOfFlag(s.var);
      if (s.s === 'let') return [s, { s: 'let', var: name, value: splat(constant(true, 'i1'), n), mutable: true }];
      const { op, x: given } = stepOf(s) as Step;
      const [acc, x] = [variable(s.var, 'f32', n), splat(read(given), n)];
      return [
        { ...s, value: pick(op, acc, x) },
        { s: 'set', var: name, value: rawOp('and', flagOf(s.var, n), rawOp('eq', x, x)) },
      ];
    });
  return { ...kernel, body: walk(kernel.body) };
}

const nameOfFlag = (acc: string): string => `${acc}_ordered`;
const flagOf = (acc: string, lanes: number): Expr => variable(nameOfFlag(acc), 'i1', lanes);

/** Lanes of the variables that begin as a number and that all sets take to the least, or all to the greatest, of themselves
 *  and something else. */
function accumulators(body: readonly Stmt[]): Map<string, number> {
  const found = new Map<string, number>();
  const ops = new Map<string, Step['op'] | null>();
  visitStmts(body, (s) => {
    if (s.s === 'let' && s.mutable && s.value.dtype === 'f32' && s.value.lanes > 1 && isNumber(s.value))
      found.set(s.var, s.value.lanes);
    if (s.s !== 'set') return;
    const op = stepOf(s)?.op ?? null;
    ops.set(s.var, !ops.has(s.var) || ops.get(s.var) === op ? op : null);
  });
  for (const name of found.keys()) if (!ops.get(name)) found.delete(name);
  return found;
}

const isNumber = (x: Expr): boolean =>
  x.k === 'vec' && x.op === 'splat' && x.args[0]?.k === 'const' && !Number.isNaN(Number(x.args[0].value));

function stepOf({ var: name, value }: Set): Step | null {
  if (value.k !== 'op' || value.dtype !== 'f32') return null;
  const [acc, x] = value.args;
  if ((value.op !== 'max' && value.op !== 'min') || acc?.k !== 'var' || acc.name !== name || !x) return null;
  return mentions(x, name) ? null : { op: value.op, x };
}
