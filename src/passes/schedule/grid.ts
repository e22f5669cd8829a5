// The schedule of a GPU: each perfect nest of parallel loops at the top of a kernel becomes one `grid` loop over all its
// iterations, innermost axis fastest, so that neighbours in the grid are neighbours in memory. What is inside stays
// serial within one iteration. A backend starts each grid loop, and each stretch of other statements, by itself: nothing
// but buffers and immutable lets may pass between them; where something would, the kernel keeps its plain loops.

import { e } from '../../ir/expr.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { namesRead, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, i32, type ScalarOp, variable, visitExpr } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { effectsOf, namesOf } from '../kernel/stmt-walk.js';
import { mergeNest } from './merge.js';
import { type For, loadsOf, matchNest } from './nest.js';
import { type Fresh, shareRow } from './grid-rows.js';
import { applyStage, chooseStage } from './grid-stage.js';
import { applyBlock, chooseBlock } from './grid-tile.js';
import { type Shaped, vectorElements, wordNest } from './grid-vector.js';
import { constOf, wrap } from './loops.js';
import { privatizeScratch } from './private-scratch.js';

export interface GridOptions {
  /** Sums keep their order. */
  readonly exact: boolean;
}

interface Context extends GridOptions {
  readonly sizes: ReadonlySet<string>;
  /** Buffers of elements that share 32-bit words. */
  readonly narrow: ReadonlySet<number>;
  readonly fresh: Fresh;
}

export function gridKernel(kernel: Kernel, options: GridOptions = { exact: false }): Kernel {
  const taken = namesOf(kernel.body);
  let slots = kernel.params.length;
  visitStmts(kernel.body, (s) => {
    if (s.s === 'alloc') slots = Math.max(slots, s.buf + 1);
  });
  const fresh: Fresh = { name: (wanted) => freshName(wanted, taken), slot: () => slots++ };
  const narrow = new Set(kernel.params.flatMap((p, slot) => (DTYPE_INFO[p.dtype].bytes < 4 ? [slot] : [])));
  const cx: Context = { ...options, sizes: new Set(kernel.syms.map((s) => s.name)), narrow, fresh };
  if (carriesValues(kernel.body)) {
    const shared = isSmall(kernel.body) ? shareRow(kernel.body, 1, cx.exact, fresh) : null;
    return shared ? privatizeScratch({ ...kernel, body: [wholeGrid(fresh.name('g'), shared)] }) : kernel;
  }
  return privatizeScratch({ ...kernel, body: kernel.body.map((s) => gridNest(s, cx)) });
}

/** One group does all. */
const wholeGrid = (name: string, body: readonly Stmt[]): Stmt => ({
  s: 'for',
  var: name,
  lo: i32(0),
  hi: i32(1),
  step: 1,
  mode: 'grid',
  body,
});

/** What a whole kernel given to one group may have of loops that many groups could share. */
const SMALL_NEST = 4096;

function isSmall(body: readonly Stmt[]): boolean {
  const sizeOf = (s: Stmt): number =>
    s.s === 'for' && s.mode === 'parallel' ? (constOf(s.hi) ?? SMALL_NEST + 1) * Math.max(1, ...s.body.map(sizeOf)) : 1;
  return body.every((s) => sizeOf(s) <= SMALL_NEST);
}

/** Whether something at the top holds a value from one statement to another: pieces could not run by themselves. */
function carriesValues(body: readonly Stmt[]): boolean {
  const { written } = effectsOf(body);
  const holds = (s: Stmt): boolean => {
    if (s.s === 'alloc' || s.s === 'break') return true;
    return s.s === 'let' && (s.mutable || loadsOf(s.value).some((x) => written.has(x.src)));
  };
  return body.some(holds) || hasAtomics(body);
}

function hasAtomics(body: readonly Stmt[]): boolean {
  let found = false;
  visitStmts(body, (s) => {
    found ||= s.s === 'atomic' || s.s === 'barrier';
  });
  return found;
}

/** Loops of a perfect parallel nest whose sizes are known before anything runs, and the body within. */
function parallelNest(s: Stmt, sizes: ReadonlySet<string>): { loops: readonly For[]; body: readonly Stmt[] } {
  const loops: For[] = [];
  let body: readonly Stmt[] = [s];
  for (let at = body[0]; body.length === 1 && at?.s === 'for' && isFree(at, sizes); at = body[0]) {
    loops.push(at);
    body = at.body;
  }
  return { loops, body };
}

const isFree = (s: For, sizes: ReadonlySet<string>): boolean =>
  s.mode === 'parallel' && s.step === 1 && s.lo.k === 'const' && Number(s.lo.value) === 0 && isKnown(s.hi, sizes);

/** Whether the host can compute it from the sizes alone: index arithmetic, with the selections of floored divisions. */
function isKnown(x: Expr, sizes: ReadonlySet<string>): boolean {
  let known = true;
  visitExpr(x, (y) => {
    if (y.k === 'var') known &&= sizes.has(y.name);
    else if (y.k === 'op') known &&= SIZE_OPS.has(y.op);
    else if (y.k === 'cast') known &&= y.arg.dtype === 'i1' && y.dtype === 'i32';
    else known &&= y.k === 'const' || y.k === 'dim' || y.k === 'select';
  });
  return known;
}

const SIZE_OPS = new Set<ScalarOp>([
  ...(['add', 'sub', 'mul', 'div', 'rem', 'neg', 'min', 'max'] as const),
  ...(['and', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'eq', 'lt', 'le'] as const),
]);

function gridNest(s: Stmt, cx: Context): Stmt {
  const rows = parallelNest(s, cx.sizes);
  const count = rows.loops.reduce((n, f) => n * (constOf(f.hi) ?? MANY), 1);
  const shared = rows.loops.length > 0 ? shareRow(rows.body, count, cx.exact, cx.fresh) : null;
  const staged = shared ? null : stageNest(s, cx);
  if (staged) return staged;
  const { loops, body } = shared ? { ...rows, body: shared } : shapeNest(s, rows, cx);
  const [first] = loops;
  if (!first) return s;
  return loops.length === 1 ? { ...first, mode: 'grid', body } : flattenLoops(loops, body, cx.fresh.name);
}

/** What an open size is taken for. */
const MANY = 1024;

/** A contraction in tiles, where all its sizes are known before it runs. */
function stageNest(s: Stmt, cx: Context): Stmt | null {
  const nest = matchNest(s);
  if (!nest?.reduction) return null;
  const isOpen = [...nest.loops, ...nest.reduction.loops].some((f) => !isKnown(f.hi, cx.sizes));
  const stage = isOpen ? null : chooseStage(nest, nest.reduction);
  return stage && applyStage(nest, nest.reduction, stage, cx.fresh);
}

/** Elementwise loops that walk memory as one are merged, reductions computed in blocks, narrow results by the word. */
function shapeNest(s: Stmt, rows: Shaped, cx: Context): Shaped {
  const nest = matchNest(s);
  const last = rows.body[rows.body.length - 1];
  const isNarrow = last?.s === 'store' && cx.narrow.has(last.buf);
  const words = (): Shaped | null => (isNarrow ? wordNest(rows, cx.fresh) : null);
  if (!nest) return words() ?? rows;
  if (nest.reduction) {
    const block = chooseBlock(nest, nest.reduction, isNarrow);
    if (block) return parallelNest(applyBlock(nest, nest.reduction, block, cx.fresh), cx.sizes);
    return words() ?? rows;
  }
  const merged = mergeNest(nest);
  const shaped = vectorElements(merged, isNarrow, cx.fresh) ?? words();
  const { loops, body } = shaped ?? { loops: merged.loops, body: [merged.store] };
  return parallelNest(wrap(loops, body)[0] as Stmt, cx.sizes);
}

/** One loop over the product of the sizes; each axis is read off its counter. */
function flattenLoops(loops: readonly For[], body: readonly Stmt[], fresh: Fresh['name']): Stmt {
  const name = fresh('g');
  const counter = variable(name, 'i32');
  const axes = new Map<string, Expr>();
  let inner: Expr = i32(1);
  for (const [k, f] of [...loops.entries()].reverse()) {
    const rest = e.div(counter, inner);
    axes.set(f.var, k === 0 ? rest : e.rem(rest, f.hi));
    inner = e.mul(f.hi, inner);
  }
  const used = namesRead(body);
  const lets = [...axes].reverse().flatMap(([v, value]): Stmt[] => {
    if (!used.has(v)) return [];
    return [{ s: 'let', var: v, value, mutable: false }];
  });
  return { s: 'for', var: name, lo: i32(0), hi: inner, step: 1, mode: 'grid', body: [...lets, ...body] };
}

function freshName(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let n = 2; taken.has(name); n++) name = `${wanted}${n}`;
  taken.add(name);
  return name;
}
