// How much work a kernel is, estimated from its loops: trip counts with every size at its actual value, a bound where only
// the run knows it, the middle of an outer loop's range where an inner one depends on it. Address arithmetic does not count.

import type { ProfiledStep } from '../backends/profile-points.js';
import { bounds, type Dim, dimSyms, evalDim } from '../ir/dim.js';
import type { Stmt } from '../ir/kernel.js';
import type { Program } from '../ir/program.js';
import { children, type Expr } from '../ir/scalar.js';
import { DTYPE_INFO } from '../support/dtype.js';

/** Values of size symbols. */
export type Sizes = ReadonlyMap<string, number>;

export interface Work {
  readonly operations: number;
  readonly bytes: number;
}

/** Of one call. */
export function countWork(program: Program, step: ProfiledStep, sizes: Sizes): Work {
  if (step.kind === 'host') return { operations: 0, bytes: 0 };
  const kernel = program.kernels[step.kernel];
  if (!kernel) return { operations: 0, bytes: 0 };
  const own = new Map(kernel.syms.map((sym, i) => [sym.name, sizeAt(step.dims[i] ?? 0, sizes)]));
  const elements = (k: number): number =>
    step.sizes ? sizeAt(step.sizes[k] ?? 0, sizes) : sizeAt(kernel.params[k]?.size ?? 0, own);
  const bytes = kernel.params.reduce(
    (n, p, k) => (p.access === 'scratch' ? n : n + elements(k) * DTYPE_INFO[p.dtype].bytes),
    0,
  );
  return { operations: countBody(kernel.body, { sizes: own, vars: new Map(own) }), bytes };
}

/** The upper bound where a symbol has no value yet. */
function sizeAt(d: Dim, sizes: Sizes): number {
  const known = [...dimSyms(d).keys()].every((name) => sizes.has(name));
  return known ? evalDim(d, sizes) : bounds(d)[1];
}

interface Scope {
  readonly sizes: Sizes;
  /** Numbers of loop and other variables, where they can be had. */
  readonly vars: Map<string, number>;
}

const countBody = (body: readonly Stmt[], scope: Scope): number =>
  body.reduce((sum, s) => sum + countStmt(s, scope), 0);

function countStmt(s: Stmt, scope: Scope): number {
  switch (s.s) {
    case 'for': {
      const [lo, hi] = [numberOf(s.lo, scope) ?? 0, numberOf(s.hi, scope) ?? 1];
      const trips = Math.max(0, Math.ceil((hi - lo) / s.step));
      scope.vars.set(s.var, lo + Math.floor(trips / 2) * s.step);
      return trips * countBody(s.body, scope);
    }
    case 'while':
      return countBody(s.body, scope);
    case 'if':
      return Math.max(countBody(s.then, scope), countBody(s.else, scope));
    case 'let': {
      const value = numberOf(s.value, scope);
      if (value === undefined || s.mutable) return countOperations(s.value);
      scope.vars.set(s.var, value);
      return 0;
    }
    case 'set':
      return countOperations(s.value);
    case 'store':
    case 'atomic':
      return countOperations(s.value) + (s.s === 'atomic' ? 1 : 0);
    case 'intrin':
      return countBody(s.body, scope);
    case 'alloc':
    case 'barrier':
    case 'break':
      return 0;
  }
}

/** Operators of a value, shared parts once, each as many as its lanes, a dot two for each of its products; indices are left
 *  out. */
function countOperations(e: Expr, seen: Set<Expr> = new Set()): number {
  if (seen.has(e)) return 0;
  seen.add(e);
  if (e.k === 'load') return 0;
  const own = e.k === 'op' ? e.lanes : e.k === 'vec' && e.op === 'dot' ? 2 * (e.args[1]?.lanes ?? 0) : 0;
  return children(e).reduce((sum, c) => sum + countOperations(c, seen), own);
}

/** The number an integer expression comes to, where it depends on nothing in memory. */
function numberOf(e: Expr, scope: Scope): number | undefined {
  switch (e.k) {
    case 'const':
      return Number(e.value);
    case 'var':
      return scope.vars.get(e.name);
    case 'dim':
      return sizeAt(e.dim, scope.sizes);
    case 'op': {
      const args = e.args.map((a) => numberOf(a, scope));
      const [a, b] = args;
      if (a === undefined || (args.length > 1 && b === undefined)) return undefined;
      return applyOp(e.op, a, b ?? 0);
    }
    default:
      return undefined;
  }
}

function applyOp(op: string, a: number, b: number): number | undefined {
  switch (op) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'min':
      return Math.min(a, b);
    case 'max':
      return Math.max(a, b);
    case 'div':
      return b === 0 ? undefined : Math.trunc(a / b);
    case 'rem':
      return b === 0 ? undefined : a % b;
    case 'shl':
      return a * 2 ** b;
    case 'shr_s':
      return Math.floor(a / 2 ** b);
    case 'and':
      return a & b;
    default:
      return undefined;
  }
}
