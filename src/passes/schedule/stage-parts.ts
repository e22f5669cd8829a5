// What the files of a staged contraction share: the measures of a tile, and small pieces of its statements.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, variable } from '../../ir/scalar.js';
import type { For } from './nest.js';

/** Invocations of a workgroup, as a square of `SIDE`; each computes BLOCK × BLOCK elements of a TILE × TILE tile. */
export const SIDE = 8;
export const LANES = SIDE * SIDE;
export const BLOCK = 4;
export const TILE = SIDE * BLOCK;
/** Steps of the reduction staged at a time. */
export const DEPTH = 16;

/** One of the two factors with the loops that only it depends on. */
export interface Side {
  readonly factor: Expr;
  readonly loops: readonly For[];
}

export const last = (loops: readonly For[]): For => loops[loops.length - 1] as For;
export const total = (loops: readonly For[]): Expr => loops.reduce<Expr>((n, f) => e.mul(n, f.hi), i32(1));

/** Each loop's place in a row-major position. */
export function placesOf(loops: readonly For[], at: Expr): ReadonlyMap<string, Expr> {
  const out = new Map<string, Expr>();
  let rest = at;
  for (const [k, f] of [...loops.entries()].reverse()) {
    out.set(f.var, k === 0 ? rest : e.rem(rest, f.hi));
    rest = e.div(rest, f.hi);
  }
  return out;
}

export const letOf = (name: string, value: Expr, mutable = false): Stmt => ({ s: 'let', var: name, value, mutable });
export const named = (name: string): Expr => variable(name, 'i32');
export const loop = (v: string, hi: Expr | number, mode: For['mode'], body: readonly Stmt[], step = 1): Stmt => ({
  s: 'for',
  var: v,
  lo: i32(0),
  hi: typeof hi === 'number' ? i32(hi) : hi,
  step,
  mode,
  body,
});
