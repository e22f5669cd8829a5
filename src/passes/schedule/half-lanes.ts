// Small integers in lanes of 16 bits along a loop variable: twice the lanes that numbers of 32 bits have.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { constant, type Expr, isPrimitive, type LoadExpr, op, vec } from '../../ir/scalar.js';
import type { ScheduleOptions } from './loops.js';

const NARROW = new Set(['i8', 'u8', 'i16']);
/** What is right in its low 16 bits whatever is above them. */
const MODULAR = new Set(['add', 'sub', 'mul', 'neg']);

/** A bare load of small integers as `lanes` lanes; null where it is another or goes beyond a border. */
export function narrowLanes(x: Expr, name: string, lanes: number, o: ScheduleOptions): LoadExpr | null {
  if (
    x.k !== 'load' ||
    !NARROW.has(o.source?.kernel.params[x.src]?.dtype ?? '') ||
    !isOne(coefficient(x.index[0] as Expr, name))
  )
    return null;
  if (x.guard && mentions(x.guard, name)) return null;
  if (x.pad && (x.pad.k !== 'const' || Math.abs(Number(x.pad.value)) >= 2 ** 15)) return null;
  const pad = x.pad?.k === 'const' ? splatHalf(Number(x.pad.value), lanes) : undefined;
  return { ...x, dtype: 'i16', lanes, pad };
}

/** Sums and products of such loads whose value is known to fit in 16 bits: what is above them is then of no account. */
export function halfLanes(x: Expr, name: string, lanes: number, o: ScheduleOptions): Expr | null {
  if (x.k === 'const') return Math.abs(Number(x.value)) < 2 ** 15 ? splatHalf(Number(x.value), lanes) : null;
  if (x.k !== 'op') return narrowLanes(x, name, lanes, o);
  if (x.dtype !== 'i32' || !MODULAR.has(x.op) || !isPrimitive(x.op)) return null;
  if (!o.target.supports(x.op, 'i16', lanes)) return null;
  const args = x.args.map((a) => halfLanes(a, name, lanes, o));
  return args.every((a) => a !== null) ? op(x.op, ...args) : null;
}

const splatHalf = (value: number, lanes: number): Expr => vec('splat', [constant(value, 'i16')], 'i16', lanes);

/** As lanes of 16 bits, or as bytes, in one of their two types, where only the low 8 bits count. */
export function narrowVector(
  x: Expr,
  name: string,
  lanes: number,
  dtype: 'i16' | 'u8',
  o: ScheduleOptions,
): Expr | null {
  if (dtype === 'i16') return halfLanes(x, name, lanes, o);
  if (x.k === 'op') return bytePlus(x, name, lanes, o);
  const stored = x.k === 'load' ? o.source?.kernel.params[x.src]?.dtype : undefined;
  if (x.k !== 'load' || x.guard || (stored !== 'u8' && stored !== 'i8')) return null;
  return isOne(coefficient(x.index[0] as Expr, name)) ? { ...x, dtype: stored, lanes } : null;
}

function bytePlus(x: Expr & { k: 'op' }, name: string, lanes: number, o: ScheduleOptions): Expr | null {
  const [a, by] = x.args as [Expr, Expr];
  const wide = (x.op === 'add' || x.op === 'sub') && by.k === 'const' ? narrowVector(a, name, lanes, 'u8', o) : null;
  if (!wide || by.k !== 'const') return null;
  const value = (Number(by.value) << 24) >> 24;
  const amount = constant(wide.dtype === 'i8' ? value : value & 255, wide.dtype);
  return op(x.op, wide, vec('splat', [amount], wide.dtype, lanes));
}
