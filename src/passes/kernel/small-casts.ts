// A vector of floats that are whole and small becomes integers by an addition: at 1.5·2²³ the last bit of a float counts ones,
// so its low bits are the number. The cast itself has to see to what is too large and to NaN, which takes most machines several
// instructions. Where a value is clamped from 0 up, the clamp can see to NaN: it gives 0 for it, as the cast would.
// And the way back: the float of such low bits is the sum less 1.5·2²³, where nothing behind this re-associates.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { isFloat } from '../../support/dtype.js';
import { bitcast, constant, type Expr, rawOp, rewriteExpr, select, vec } from '../../ir/scalar.js';
import type { VectorTarget } from '../schedule/target.js';

/** 1.5·2²³, and its bits. */
const MAGIC = 12582912;
const MAGIC_BITS = 0x4b400000;
/** What stays exact beside it. */
const LARGEST = 2 ** 22;
/** An exponent's bias, or another small number, may be part of it. */
const MOST_BESIDE = 2 ** 10;

export function addSmallCasts(kernel: Kernel, { keepsSums }: Pick<VectorTarget, 'keepsSums'>): Kernel {
  const memo = new Map<Expr, Expr>();
  const back = (x: Expr): Expr | null => (keepsSums ? lowBits(x) : null);
  const rewrite = (x: Expr): Expr => rewriteExpr(x, (y) => maskedCast(y) ?? smallCast(y) ?? back(y) ?? y, memo);
  return { ...kernel, body: mapExprs(kernel.body, rewrite) as readonly Stmt[] };
}

/** A cast to a vector of integers, as bits of a sum; null where the value may be anything else. */
function smallCast(x: Expr): Expr | null {
  const value = x.k === 'cast' && x.dtype === 'i32' && x.arg.dtype === 'f32' && x.lanes > 1 ? clampOf(x.arg) : null;
  if (!value) return null;
  const splat = (n: number): Expr => vec('splat', [constant(n, 'f32')], 'f32', x.lanes);
  const bits = vec('splat', [constant(MAGIC_BITS, 'i32')], 'i32', x.lanes);
  const whole = select(rawOp('lt', splat(0), value.x), value.x, splat(0)); // 0 for NaN
  const bounded = rawOp('min', whole, splat(value.hi));
  return rawOp('sub', bitcast(rawOp('add', bounded, splat(MAGIC)), 'i32'), bits);
}

/** What keeps the low bits of a small cast keeps all of it. Casts below have been rewritten already. */
function maskedCast(x: Expr): Expr | null {
  if (x.k !== 'op' || x.op !== 'and' || x.dtype !== 'i32' || x.lanes === 1) return null;
  const [a, b] = x.args as readonly [Expr, Expr];
  const mask = constantOf(b);
  if (mask === null || a.k !== 'op' || a.op !== 'sub') return null;
  const [bits, magic] = a.args as readonly [Expr, Expr];
  if (constantOf(magic) !== MAGIC_BITS || bits.k !== 'bitcast' || bits.arg.k !== 'op' || bits.arg.op !== 'add')
    return null;
  const [bounded] = bits.arg.args as readonly [Expr];
  const hi = bounded.k === 'op' && bounded.op === 'min' ? constantOf(bounded.args[1] as Expr) : null;
  const keepsAll = hi !== null && hi <= mask && (mask & (mask + 1)) === 0;
  return keepsAll ? a : null;
}

/** float(bits(y + m) − bits(m)) for m of about 1.5·2²³, which only ever stands where y is small: (y + m) − m has the same
 *  value, as one operation. */
function lowBits(x: Expr): Expr | null {
  if (x.k !== 'cast' || x.dtype !== 'f32' || x.lanes === 1 || x.arg.k !== 'op' || x.arg.op !== 'sub') return null;
  const [bits, offset] = x.arg.args as readonly [Expr, Expr];
  if (bits.k !== 'bitcast' || bits.dtype !== 'i32' || bits.arg.k !== 'op' || bits.arg.op !== 'add') return null;
  const magic = bits.arg.args[1] as Expr;
  const [sum, float] = [constantOf(offset), constantOf(magic)];
  const beside = sum === null ? Number.NaN : sum - MAGIC_BITS;
  if (float === null || float !== MAGIC + beside || Math.abs(beside) > MOST_BESIDE) return null;
  return rawOp('sub', bits.arg, magic);
}

interface Clamp {
  readonly x: Expr;
  readonly hi: number;
}

/** min(max(x, 0), hi) of a whole x, in either order of operands. */
function clampOf(x: Expr): Clamp | null {
  const outer = boundOf(x, 'min');
  const inner = outer && boundOf(outer.x, 'max');
  if (inner?.bound !== 0 || !outer || outer.bound < 0 || outer.bound > LARGEST || !Number.isInteger(outer.bound))
    return null;
  return isWhole(inner.x) ? { x: inner.x, hi: outer.bound } : null;
}

function boundOf(x: Expr, op: 'min' | 'max'): { readonly x: Expr; readonly bound: number } | null {
  if (x.k !== 'op' || x.op !== op) return null;
  const [a, b] = x.args as readonly [Expr, Expr];
  const [p, q] = [constantOf(a), constantOf(b)];
  if (q !== null) return { x: a, bound: q };
  return p !== null ? { x: b, bound: p } : null;
}

function constantOf(x: Expr): number | null {
  const one = x.k === 'vec' && x.op === 'splat' ? x.args[0] : x;
  return one?.k === 'const' ? Number(one.value) : null;
}

const STEPS: ReadonlySet<string> = new Set(['rint', 'floor', 'ceil', 'trunc']);
const KEEPING: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'neg', 'abs', 'min', 'max']);

/** Whether a float is surely a whole number, infinite or NaN. */
function isWhole(x: Expr): boolean {
  if (x.k === 'vec' && x.op === 'splat') return isWhole(x.args[0] as Expr);
  if (x.k === 'const') return Number.isInteger(Number(x.value));
  if (x.k === 'cast') return !isFloat(x.arg.dtype);
  if (x.k === 'select') return isWhole(x.a) && isWhole(x.b);
  if (x.k !== 'op') return false;
  return STEPS.has(x.op) || (KEEPING.has(x.op) && x.args.every(isWhole));
}
