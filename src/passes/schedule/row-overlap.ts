// Blocks of rows that follow one another: the last loop of a block's rows, which stores, goes with the first of the next
// block's, which only reads. A processor loads and stores at the same time, and such loops do little else. The rows of a parallel
// loop do not know of each other, so what is done to which first makes no difference.

import type { Stmt } from '../../ir/kernel.js';
import { mapExprs, slotsOf, visitKernelExprs } from '../../ir/kernel-walk.js';
import { e } from '../../ir/expr.js';
import { type Expr, exprKey, i32, substituteVars, variable } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';
import { effectsOf } from '../kernel/stmt-walk.js';
import type { For } from './nest.js';

/** `renameAll` of row-blocks.ts. */
type Rename = (body: readonly Stmt[], from: string, to: string) => readonly Stmt[];

interface Block {
  /** The variable with its first row. */
  readonly var: string;
  readonly rows: number;
  /** Rows of all blocks. */
  readonly size: number;
}

/** What stands in place of the first loop, and what follows all blocks in place of the last; null where they stay apart. */
export function overlapEnds(
  first: For,
  last: For,
  block: Block,
  rename: Rename,
): { readonly begin: Stmt; readonly end: Stmt } | null {
  const [a, b] = [cut(first), cut(last)];
  if (!a || !b || block.size % block.rows !== 0 || block.size === block.rows) return null;
  const isSame = a.loop.step === b.loop.step && [a, b].every((x) => x.loop.lo.k === 'const' && x.loop.hi.k === 'const');
  if (!isSame || exprKey(a.loop.lo) !== exprKey(b.loop.lo) || exprKey(a.loop.hi) !== exprKey(b.loop.hi)) return null;
  if (!isShort(a) || !isShort(b) || hasStores(a.loop) || meet(first, last)) return null;
  const start = variable(block.var, 'i32');
  const at = (map: readonly (readonly [string, Expr])[], body: readonly Stmt[]): readonly Stmt[] =>
    mapExprs(body, (x) => substituteVars(x, new Map(map)));
  const name = `${first.var}_over`;
  const before = at(
    [
      [last.var, e.sub(variable(name, 'i32'), block.rows)],
      [block.var, e.sub(start, block.rows)],
    ],
    last.body,
  );
  const both = merge(cutBody(rename(before, last.var, name)), cutBody(rename(first.body, first.var, name)));
  const over: For = { ...first, var: name, body: both };
  const begin: Stmt = { s: 'if', cond: e.lt(start, 1), then: [first], else: [over] };
  const left = i32(block.size - block.rows);
  const end: For = {
    ...last,
    var: `${last.var}_end`,
    lo: left,
    hi: i32(block.size),
    body: rename(at([[block.var, left]], last.body), last.var, `${last.var}_end`),
  };
  return { begin, end };
}

interface Cut {
  readonly before: readonly Stmt[];
  readonly loop: For;
  readonly after: readonly Stmt[];
}

/** A row with one loop, of statements that do not branch. */
function cut(row: For): Cut | null {
  const isFlat = (s: Stmt): boolean => s.s === 'let' || s.s === 'set' || s.s === 'store';
  const loops = row.body.filter((s) => s.s === 'for');
  const [loop] = loops;
  const flat = row.body.every((s) => s === loop || isFlat(s)) && loop?.body.every(isFlat);
  return loops.length === 1 && flat ? cutBody(row.body) : null;
}

function cutBody(body: readonly Stmt[]): Cut {
  const at = body.findIndex((s) => s.s === 'for');
  return { before: body.slice(0, at), loop: body[at] as For, after: body.slice(at + 1) };
}

/** Loads before stores. */
function merge(last: Cut, first: Cut): readonly Stmt[] {
  const here = new Map([[last.loop.var, variable(first.loop.var, 'i32')]]);
  const steps = mapExprs(last.loop.body, (x) => substituteVars(x, here));
  const isStore = (s: Stmt): boolean => s.s === 'store';
  const body = [...steps.filter((s) => !isStore(s)), ...first.loop.body, ...steps.filter(isStore)];
  return [...last.before, ...first.before, { ...first.loop, mode: 'serial', body }, ...last.after, ...first.after];
}

const hasStores = (loop: For): boolean => loop.body.some((s) => s.s === 'store');

/** Operations on floats in a statement up to which it is memory that a loop waits for. */
const FEW = 2;
/** And in a row around its loop, as either is written twice. */
const MANY = 32;

const isShort = ({ before, loop, after }: Cut): boolean =>
  loop.body.every((s) => operationsOf([s]) <= FEW) && operationsOf([...before, ...after]) <= MANY;

function operationsOf(body: readonly Stmt[]): number {
  let operations = 0;
  visitKernelExprs(body, (x) => {
    if ((x.k === 'op' || x.k === 'select') && isFloat(x.dtype)) operations++;
  });
  return operations;
}

/** Whether one stores to what the other uses; numbers of a row are read before they are stored anew. */
function meet(first: For, last: For): boolean {
  const { loop, after } = cutBody(last.body);
  const common = (a: ReadonlySet<number>, b: ReadonlySet<number>): boolean => [...a].some((slot) => b.has(slot));
  return (
    common(effectsOf(first.body).written, slotsOf([loop, ...after])) ||
    common(effectsOf(last.body).written, slotsOf(first.body))
  );
}
