// One expression along a loop variable: its value for `lanes` consecutive values of the variable, as a vector.
// Null where the target cannot: the caller keeps the scalar loop or goes lane by lane.

import { coefficient, isOne, isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { children, type Expr, isPrimitive, type LoadExpr, select, substituteVars, vec } from '../../ir/scalar.js';
import { SIMD_32, type VectorTarget } from './target.js';

export interface Lanes {
  readonly target: VectorTarget;
  readonly name: string;
  /** Value of the variable in lane 0 (free of it). */
  readonly base: Expr;
  /** Whether loads with a stride may go lane by lane. */
  readonly gather: boolean;
  /** Whether loads of every other element may be made of two vectors. */
  readonly apart: boolean;
  /** Vectors that stand for scalar variables (accumulators). */
  readonly vars: ReadonlyMap<string, Expr>;
}

export function vectorizeExpr(x: Expr, l: Lanes): Expr | null {
  const memo = new Map<Expr, Expr | null>();
  const varies = variesWith(l);
  const go = (y: Expr): Expr | null => {
    const known = memo.get(y);
    if (known !== undefined) return known;
    const made = varies(y) ? build(y, l, go, varies) : y;
    memo.set(y, made);
    return made;
  };
  return go(x);
}

/** Whether lanes differ: the expression mentions the variable or a vector. Remembered per node, as bodies are shared DAGs. */
function variesWith(l: Lanes): (x: Expr) => boolean {
  const memo = new Map<Expr, boolean>();
  const go = (x: Expr): boolean => {
    const known = memo.get(x);
    if (known !== undefined) return known;
    const own = x.k === 'var' && (x.name === l.name || l.vars.has(x.name));
    const result = own || children(x).some(go);
    memo.set(x, result);
    return result;
  };
  return go;
}

type Varies = (x: Expr) => boolean;

function build(x: Expr, l: Lanes, go: (x: Expr) => Expr | null, varies: Varies): Expr | null {
  const { lanes } = l.target;
  if (!SIMD_32.has(x.dtype)) return null;
  switch (x.k) {
    case 'var':
      return l.vars.get(x.name) ?? vec('iota', [l.base], 'i32', lanes);
    case 'load':
      return buildLoad(x, l, go, varies);
    case 'op': {
      const first = x.args[0] as Expr;
      if (!isPrimitive(x.op) || !SIMD_32.has(first.dtype) || !l.target.supports(x.op, first.dtype, lanes)) return null;
      const args = x.args.map(go);
      if (args.some((a) => a === null)) return null;
      const shift = x.op === 'shl' || x.op === 'shr_s' || x.op === 'shr_u';
      if (shift && (args[1] as Expr).lanes > 1) return null;
      return { ...x, args: args.map((a, k) => (shift && k === 1 ? (a as Expr) : splat(a as Expr, lanes))), lanes };
    }
    case 'select': {
      const [c, a, b] = [go(x.cond), go(x.a), go(x.b)];
      if (!c || !a || !b || !l.target.supports('select', x.dtype, lanes)) return null;
      return select(c, splat(a, lanes), splat(b, lanes));
    }
    case 'cast': {
      const a = go(x.arg);
      if (!a || !SIMD_32.has(x.arg.dtype) || !castable(x.arg.dtype, x.dtype)) return null;
      return { ...x, arg: splat(a, lanes), lanes };
    }
    case 'bitcast': {
      const a = go(x.arg);
      return a && { ...x, arg: splat(a, lanes), lanes };
    }
    default:
      return null;
  }
}

const castable = (from: string, to: string): boolean =>
  `${from}>${to}` === 'i32>f32' ||
  `${from}>${to}` === 'f32>i32' ||
  `${from}>${to}` === 'u32>i32' ||
  `${from}>${to}` === 'i32>u32' ||
  (from === 'i1' && to !== 'i1');

export const splat = (x: Expr, lanes: number): Expr => (x.lanes > 1 ? x : vec('splat', [x], x.dtype, lanes));

function buildLoad(x: LoadExpr, l: Lanes, go: (x: Expr) => Expr | null, varies: Varies): Expr | null {
  const { lanes } = l.target;
  const index = x.index[0] as Expr;
  const guardVaries = x.guard !== undefined && varies(x.guard);
  if (x.pad && varies(x.pad)) return null;
  const stride = coefficient(index, l.name);
  const at = new Map([[l.name, l.base]]);
  if (isOne(stride) && !guardVaries) {
    const moved = substituteVars(index, at);
    return { ...x, index: [moved], pad: x.pad && splat(x.pad, lanes), lanes };
  }
  if (!guardVaries && isApart(x, l)) {
    const first = substituteVars(index, at);
    const part = (from: Expr): Expr => ({ ...x, index: [from], pad: x.pad && splat(x.pad, lanes), lanes });
    return vec('evens', [part(first), part(e.add(first, lanes - 1))], x.dtype, lanes);
  }
  if (!l.gather) return null;
  if (guardVaries) {
    const guard = isOne(stride) && x.guard ? go(x.guard) : null;
    if (!guard || guard.lanes !== lanes) return null;
    return { ...x, index: [substituteVars(index, at)], guard, pad: x.pad && splat(x.pad, lanes), lanes };
  }
  if (isZero(stride)) return null;
  const vectorIndex = go(index);
  return vectorIndex && { ...x, index: [splat(vectorIndex, lanes)], pad: x.pad && splat(x.pad, lanes), lanes };
}

/** Whether lanes hold every other element of a row, and that is better read in two vectors: the last ends where the row does. */
export function isApart({ index }: LoadExpr, { name, target, apart }: Lanes): boolean {
  const stride = coefficient(index[0] as Expr, name);
  return apart && target.separates && stride?.k === 'const' && Number(stride.value) === 2;
}

/** The scalar value of one lane. */
export function laneExpr(x: Expr, l: Lanes, lane: number): Expr {
  const map = new Map<string, Expr>([[l.name, e.add(l.base, lane)]]);
  for (const [name, v] of l.vars) map.set(name, vec('extract', [v], v.dtype, 1, lane));
  return substituteVars(x, map);
}
