// The expression half of the walker (clike.ts): one expression graph to one text, cells from the Lang.
// A node in the shared set is declared as a constant the first time it is met, and referred to by name from then on.

import {
  type ConstExpr,
  constant,
  type Expr,
  type LoadExpr,
  type PrimitiveOp,
  type ScalarOp,
  isPrimitive,
} from '../ir/scalar.js';
import { widenedLoad } from '../ir/halves.js';
import { type DType, DTYPE_INFO, isInteger } from '../support/dtype.js';
import { invariant, never } from '../support/errors.js';
import { atom, fill, type Text } from './cell.js';
import type { Local } from './clike.js';
import { decide, remaining } from './decide.js';
import { dimToExpr } from './dim-expr.js';
import { extremumOf } from './extremum.js';
import type { Ranges } from './int-range.js';
import {
  type CellLookup,
  type ComputeType,
  computeType,
  type Lang,
  type NumberType,
  type Shift,
  type VectorCells,
} from './lang.js';
import type { Names } from './names.js';

export interface ExprContext {
  readonly lang: Lang;
  readonly names: Names;
  readonly ranges: Ranges;
  readonly slots: ReadonlyMap<number, Local>;
  readonly vars: ReadonlyMap<string, string>;
  readonly onHelper: (name: string) => void;
  /** Declares a constant with the value of `e`, before the statement at hand. */
  readonly declare: (e: Expr, name: string, text: string) => void;
  /** A name for a constant that values are compared with; null where it stands as it is. */
  readonly limit: (e: ConstExpr) => string | null;
}

export interface ExprPrinter {
  readonly print: (roots: readonly Expr[], shared: ReadonlySet<Expr>) => Text[];
  readonly vector: () => VectorCells;
}

type OpExpr = Expr & { k: 'op' };

export function createExprPrinter(cx: ExprContext): ExprPrinter {
  const vector = (): VectorCells => {
    invariant(cx.lang.vector, `${cx.lang.name} programs contain no vector expressions`);
    return cx.lang.vector;
  };
  const print = (roots: readonly Expr[], shared: ReadonlySet<Expr>): Text[] => {
    const named = new Map<Expr, Text>();
    const text = (e: Expr): Text => {
      const known = named.get(e);
      if (known) return known;
      const printed = printNode(cx, vector, text, e);
      if (!shared.has(e)) return printed;
      const name = cx.names.fresh('t');
      cx.declare(e, name, printed.text);
      named.set(e, atom(name));
      return atom(name);
    };
    return roots.map(text);
  };
  return { print, vector };
}

type Print = (e: Expr) => Text;

const selectCell = (lang: Lang): string => lang.select ?? '$0 ? $1 : $2';

function printNode(cx: ExprContext, vector: () => VectorCells, print: Print, e: Expr): Text {
  const put = (cell: string, ...args: Text[]): Text => fill(cell, args, cx.onHelper);
  const asVector = (x: Expr, lanes: number): Text =>
    x.lanes === lanes ? print(x) : put(vector().splat(x.dtype, lanes), print(x));
  switch (e.k) {
    case 'const':
      return printConst(cx, e);
    case 'var': {
      const name = cx.vars.get(e.name);
      invariant(name !== undefined, `the variable ${e.name} is read before it is declared`);
      return atom(name);
    }
    case 'dim':
      return print(dimToExpr(e.dim));
    case 'load':
      return printLoad(cx, vector, print, e);
    case 'op':
      if (e.lanes > 1 && cx.lang.vector?.loadHalves) {
        const text = printHalves(cx, cx.lang.vector.loadHalves, print, e);
        if (text) return text;
      }
      if (e.lanes > 1 && isShift(e.op) && uniform(e.args[1])) {
        const cell = vector().shift?.(e.op, e.dtype, e.lanes);
        if (cell) return put(cell, asVector(e.args[0] as Expr, e.lanes), print(uniform(e.args[1]) as Expr));
      }
      return e.args.some((a) => a.lanes > 1)
        ? put(vectorCell(vector(), e), ...e.args.map((a) => asVector(a, lanesOfArgs(e))))
        : printOp(cx, print, e);
    case 'select': {
      const known = decide(cx.ranges, e.cond);
      if (known !== null) return asVector(known ? e.a : e.b, e.lanes);
      const extremum = e.cond.lanes > 1 ? extremumOf(e) : null;
      if (extremum) {
        const args = [extremum.a, extremum.b].map((x) => {
          const every = uniform(x);
          const name = every?.k === 'const' ? cx.limit(every) : null;
          return name === null ? asVector(x, e.lanes) : put(vector().splat(x.dtype, e.lanes), atom(name));
        });
        return put(vector().extremum(extremum.op, e.dtype, e.lanes), ...args);
      }
      const arms = [e.a, e.b].map((x) => (e.lanes > 1 ? asVector(x, e.lanes) : print(x)));
      const cell = e.cond.lanes > 1 ? vector().select(e.dtype, e.lanes) : selectCell(cx.lang);
      return put(cell, print(e.cond), ...arms);
    }
    case 'cast':
      return e.lanes > 1
        ? put(vector().cast(e.arg.dtype, e.dtype, e.lanes), print(e.arg))
        : put(cx.lang.cast(computeType(e.arg.dtype), computeType(e.dtype)), print(e.arg));
    case 'bitcast':
      return e.lanes > 1
        ? put(vector().bitcast(e.arg.dtype, e.dtype, e.lanes), print(e.arg))
        : put(cx.lang.bitcast(e.arg.dtype as NumberType, e.dtype as NumberType), print(e.arg));
    case 'vec':
      return put(vecCell(vector(), e), ...(e.args.length ? e.args : [constant(0, e.dtype)]).map(print));
    default:
      return never(e, 'expression');
  }
}

/** One lane of a vector of narrow integers is an i32. */
const constType = (t: DType): ComputeType => (isInteger(t) && DTYPE_INFO[t].bits < 32 ? 'i32' : computeType(t));

function printConst(cx: ExprContext, e: ConstExpr): Text {
  const cell = cx.lang.constant(e.value, constType(e.dtype));
  if (/^\w[\w.+-]*$/.test(cell)) return atom(cell);
  return fill(cell, [], cx.onHelper);
}

const isShift = (op: ScalarOp): op is Shift => op === 'shl' || op === 'shr_s' || op === 'shr_u';

/** What is in every lane of `e`, where that shows. */
const uniform = (e: Expr | undefined): Expr | undefined =>
  e?.lanes === 1 ? e : e?.k === 'vec' && e.op === 'splat' && e.args[0]?.lanes === 1 ? e.args[0] : undefined;

const lanesOfArgs = (e: OpExpr): number => Math.max(...e.args.map((a) => a.lanes));

function vectorCell(cells: VectorCells, e: OpExpr): string {
  invariant(isPrimitive(e.op) && e.args[0], `${e.op} was not expanded`);
  return cells.op(e.op, e.args[0].dtype, lanesOfArgs(e));
}

function vecCell(cells: VectorCells, e: Expr & { k: 'vec' }): string {
  const arg = e.args[0];
  if (e.op === 'dot') return cells.dot((e.args[1] as Expr).dtype, (e.args[2] as Expr).dtype, e.lanes);
  if (e.op === 'zip') return cells.zip(e.dtype, e.lanes, e.lane);
  if (e.op === 'evens') return cells.evens(e.dtype, e.lanes);
  if (e.op === 'splat' && arg && arg.lanes > 1) return cells.repeat(e.dtype, arg.lanes, e.lanes);
  if (e.op === 'splat') return cells.splat(e.dtype, e.lanes);
  if (e.op === 'iota') return cells.iota(e.dtype, e.lanes);
  invariant(arg, 'extract without a vector');
  return cells.extract(arg.dtype, arg.lanes, e.lane);
}

function printOp(cx: ExprContext, print: Print, e: OpExpr): Text {
  const [a, b] = e.args;
  invariant(isPrimitive(e.op) && a, `${e.op} was not expanded`);
  const known = decide(cx.ranges, e);
  if (known !== null) return printConst(cx, constant(known, 'i1'));
  const rest = remaining(cx.ranges, e);
  if (rest) return print(rest);
  const put = (cell: string, ...args: Text[]): Text => fill(cell, args, cx.onHelper);
  const type = computeType(a.dtype);
  const exact = cx.ranges.isExact(e) ? (cx.lang.exact as CellLookup)[e.op]?.[type] : undefined;
  if (exact !== undefined) {
    const less = e.op === 'add' && b?.k === 'const' && Number(b.value) < 0 ? cx.lang.exact.sub?.[type] : undefined;
    if (less !== undefined)
      return put(less, print(a), printConst(cx, constant(-Number((b as ConstExpr).value), 'i32')));
    return put(exact, ...e.args.map(print));
  }
  return put(opCell(cx.lang, e.op, type), ...e.args.map(print));
}

function opCell(lang: Lang, op: PrimitiveOp, type: string): string {
  const cell = (lang.ops as CellLookup)[op]?.[type];
  invariant(cell !== undefined, `${lang.name} has no cell for ${op} of ${type}`);
  return cell;
}

/** Halves that a load makes floats of. */
function printHalves(cx: ExprContext, cell: (lanes: number) => string, print: Print, e: OpExpr): Text | null {
  const load = widenedLoad(e);
  const local = load && cx.slots.get(load.src);
  const [index] = load?.index ?? [];
  if (!load || !index || local?.type !== 'i16' || load.guard || index.lanes > 1) return null;
  return fill(cell(e.lanes), [atom(local.name), print(index)], cx.onHelper);
}

const loadCell = (lang: Lang, type: Local['type']): string =>
  typeof lang.load === 'string' ? lang.load : lang.load(type);

function printLoad(cx: ExprContext, vector: () => VectorCells, print: Print, e: LoadExpr): Text {
  const local = cx.slots.get(e.src);
  const index = e.index[0];
  invariant(local && index && e.index.length === 1, `load from buffer ${e.src} with ${e.index.length} indices`);
  const put = (cell: string, ...args: Text[]): Text => fill(cell, args, cx.onHelper);
  const pad = e.pad ?? constant(0, e.dtype);
  const padText = (): Text =>
    e.lanes > 1 && pad.lanes === 1 ? put(vector().splat(pad.dtype, e.lanes), print(pad)) : print(pad);
  const masked = e.guard !== undefined && e.guard.lanes > 1;
  const cell =
    e.lanes > 1
      ? vector().load(local.type, e.dtype, e.lanes, { gather: index.lanes > 1, masked })
      : loadCell(cx.lang, local.type);
  const buffer = atom(local.name);
  const guard = e.guard && decide(cx.ranges, e.guard);
  if (guard === false) return padText();
  if (e.guard === undefined || guard === true) return put(cell, buffer, print(index));
  if (masked) return put(cell, buffer, print(index), print(e.guard), padText());
  return put(selectCell(cx.lang), print(e.guard), put(cell, buffer, print(index)), padText());
}
