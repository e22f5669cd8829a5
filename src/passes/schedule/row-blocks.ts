// Rows a few at a time. What a row's loops share is a number that the next loop waits for: its maximum, the sum of its
// exponentials. The last steps of such a reduction, lane by lane, take as long as many vectors, and a short row has nothing else
// to do meanwhile. So each loop is done for all rows of a block before the next begins; the numbers wait in scratch memory.
// No row is computed in another way, and rows of a parallel loop do not read each other's results.

import { e } from '../../ir/expr.js';
import type { BufferParam, Stmt } from '../../ir/kernel.js';
import { accessesOf, mapExprs, namesRead, slotsOf, stmtBodies, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, load, rewriteExpr, variable, visitExpr } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { effectsOf } from '../kernel/stmt-walk.js';
import { constOf } from './loops.js';
import type { For } from './nest.js';
import type { ScheduledKernel } from './operands.js';
import { redirect } from './private-scratch.js';
import { overlapEnds } from './row-overlap.js';

/** Statements of a row above which its ends do not matter. */
const MOST_WORK = 1024;
/** Bytes of scratch memory for a block, which is to stay in a first-level cache. */
const MOST_BYTES = 16 * 1024;

/** `rows`: of a block. Kernels that declare storage of their own get no more parameters. */
export function blockRows(scheduled: ScheduledKernel, rows: number, overlap = false): ScheduledKernel {
  const { kernel, operands } = scheduled;
  let declares = false;
  visitStmts(kernel.body, (s) => {
    declares ||= s.s === 'alloc';
  });
  if (rows < 2 || declares) return scheduled;
  const site: Site = { params: [...kernel.params], given: kernel.params.length, body: kernel.body, rows, overlap };
  const body = go(kernel.body, site);
  const added = site.params.slice(site.given).map(() => ({ kind: 'scratch' }) as const);
  return { kernel: { ...kernel, params: site.params, body }, operands: [...operands, ...added] };
}

interface Site {
  readonly params: BufferParam[];
  readonly given: number;
  readonly body: readonly Stmt[];
  readonly rows: number;
  /** Whether blocks may wait for one another. */
  readonly overlap: boolean;
}

const go = (body: readonly Stmt[], site: Site): readonly Stmt[] =>
  body.flatMap((s): readonly Stmt[] => {
    if (s.s === 'if') return [{ ...s, then: go(s.then, site), else: go(s.else, site) }];
    if (s.s !== 'for') return [s];
    return blockLoop(s, site) ?? [{ ...s, body: go(s.body, site) }];
  });

/** What a row does up to a number the rest waits for. */
interface Phase {
  readonly body: readonly Stmt[];
  /** Numbers of phases before that this one reads. */
  readonly needs: readonly Value[];
}

type Value = Extract<Stmt, { s: 'let' }>;

function blockLoop(f: For, site: Site): readonly Stmt[] | null {
  const size = constOf(f.hi);
  if (f.mode !== 'parallel' || f.step !== 1 || constOf(f.lo) !== 0 || size === null || size < 2) return null;
  if (workOf(f.body) > MOST_WORK) return null;
  const phases = cutPhases(f.body);
  if (phases.length < 2) return null;
  const rows = Math.min(site.rows, size);
  const shared = sharedScratch(f, phases, site, rows);
  if (!shared) return null;
  for (const slot of shared) {
    const p = site.params[slot] as BufferParam;
    site.params[slot] = { ...p, size: Number(p.size) * rows };
  }
  const block = `${f.var}_block`;
  const start = variable(block, 'i32');
  const hi = size % rows === 0 ? e.add(start, rows) : e.min(e.add(start, rows), f.hi);
  const kept = new Map<string, number>();
  const loops = phases.map((p, k): For => {
    const name = k === 0 ? f.var : `${f.var}_phase${k}`;
    const row = e.sub(variable(name, 'i32'), start);
    const free = k === 0 ? [] : freeValues(f.body, p.body);
    const waits = p.needs.map((v): Stmt => {
      const slot = kept.get(v.var) as number;
      return { ...v, value: load(slot, [row], v.value.dtype) };
    });
    const later = new Set(phases.slice(k + 1).flatMap((q) => q.needs.map((v) => v.var)));
    const stores = p.body.flatMap((s): Stmt[] => {
      if (s.s !== 'let' || !later.has(s.var)) return [];
      const { dtype } = s.value;
      const buf = site.params.push({ name: `wait_${s.var}`, dtype, access: 'scratch', size: rows }) - 1;
      kept.set(s.var, buf);
      return [{ s: 'store', buf, index: row, value: variable(s.var, dtype) }];
    });
    const own = [...free, ...waits, ...p.body, ...stores];
    const moved = [...shared].reduce<readonly Stmt[]>((body, slot) => {
      const each = Number(site.params[slot]?.size) / rows;
      return redirect(body, slot, slot, (x) => e.add(e.mul(row, each), x));
    }, own);
    const renamed = k === 0 ? moved : renameAll(moved, f.var, name);
    return { ...f, var: name, lo: start, hi, mode: 'serial', body: renamed };
  });
  const ends = site.overlap
    ? overlapEnds(loops[0] as For, loops[loops.length - 1] as For, { var: block, rows, size }, renameAll)
    : null;
  if (!ends) return [{ ...f, var: block, step: rows, body: loops }];
  const body = [ends.begin, ...loops.slice(1, -1)];
  return [{ ...f, var: block, step: rows, mode: 'serial', body }, ends.end];
}

/** Statements, those of loops as often as they run. */
function workOf(body: readonly Stmt[]): number {
  return body.reduce((total, s) => {
    const inner = stmtBodies(s).reduce((n, b) => n + workOf(b), 0);
    if (s.s !== 'for') return total + 1 + inner;
    const [lo, hi] = [constOf(s.lo), constOf(s.hi)];
    return total + (lo === null || hi === null ? Number.POSITIVE_INFINITY : ((hi - lo) / s.step) * (inner + 1));
  }, 0);
}

/** The body cut between loops where all that crosses are numbers some loop has made, and at least one. */
function cutPhases(body: readonly Stmt[]): readonly Phase[] {
  const ends = body.flatMap((s, k) => (s.s === 'for' ? [k] : []));
  const phases: Phase[] = [];
  let from = 0;
  ends.slice(1).forEach((next, k) => {
    const first = (ends[k] as number) + 1;
    const places = Array.from({ length: next - first + 1 }, (_, n) => first + n);
    const found = places.map((at) => ({ at, needs: crossing(body, at) }));
    const best = found.reduce((a, b) => (costOf(b.needs) < costOf(a.needs) ? b : a));
    if (!best.needs || best.needs.length === 0) return;
    phases.push({ body: body.slice(from, best.at), needs: [] });
    from = best.at;
  });
  phases.push({ body: body.slice(from), needs: [] });
  const starts = phases.map((_, k) => phases.slice(0, k).reduce((n, p) => n + p.body.length, 0));
  return phases.map((p, k) => ({ ...p, needs: needsOf(body, starts[k] as number, p.body) ?? [] }));
}

const costOf = (needs: readonly Value[] | null): number => (needs ? needs.length : Number.POSITIVE_INFINITY);

/** Values made before `at` and read from there on; null where one is a vector or is set again. */
const crossing = (body: readonly Stmt[], at: number): readonly Value[] | null => needsOf(body, at, body.slice(at));

function needsOf(body: readonly Stmt[], at: number, reader: readonly Stmt[]): readonly Value[] | null {
  const used = namesIn(reader);
  const values = body.slice(0, at).filter((s): s is Value => s.s === 'let' && used.has(s.var) && !isFree(s, body));
  return values.some((v) => v.mutable || v.value.lanes > 1 || DTYPE_INFO[v.value.dtype].bytes !== 4) ? null : values;
}

/** Arithmetic that costs nothing to do again: what it reads is known outside the row, or free as well. */
function isFree(v: Value, body: readonly Stmt[]): boolean {
  if (v.mutable) return false;
  let free = true;
  visitExpr(v.value, (x) => {
    if (x.k === 'load') free = false;
    if (x.k !== 'var') return;
    const from = body.find((s): s is Value => s.s === 'let' && s.var === x.name);
    if (from && !isFree(from, body)) free = false;
  });
  return free;
}

/** Free values of the row that `reader` uses, in order. */
function freeValues(body: readonly Stmt[], reader: readonly Stmt[]): readonly Stmt[] {
  const used = namesIn(reader);
  const free = body.filter((s): s is Value => s.s === 'let' && isFree(s, body) && !reader.includes(s));
  for (const v of [...free].reverse()) if (used.has(v.var)) for (const name of namesIn([v])) used.add(name);
  return free.filter((v) => used.has(v.var));
}

/** Names that are read or set. */
const namesIn = (body: readonly Stmt[]): Set<string> => new Set([...namesRead(body), ...effectsOf(body).assigned]);

/** Scratch memory of the row that more than one phase uses; null where it is used elsewhere, too, or is too much. */
function sharedScratch(f: For, phases: readonly Phase[], site: Site, rows: number): ReadonlySet<number> | null {
  const each = phases.map((p) => slotsOf(p.body));
  const isScratch = (slot: number): boolean => site.params[slot]?.access === 'scratch';
  const shared = new Set(
    each.flatMap((slots, k) => [...slots].filter((s) => isScratch(s) && each.some((o, j) => j !== k && o.has(s)))),
  );
  let uses = 0;
  let outside = 0;
  for (const slot of shared) {
    uses += accessesOf([f], slot);
    outside += accessesOf(site.body, slot);
  }
  const bytes = [...shared].reduce((n, slot) => {
    const p = site.params[slot] as BufferParam;
    return n + (typeof p.size === 'number' ? p.size * DTYPE_INFO[p.dtype].bytes * rows : Number.POSITIVE_INFINITY);
  }, 0);
  return uses === outside && bytes <= MOST_BYTES ? shared : null;
}

/** Names of a phase's own: every declaration of a kernel has one. */
function renameAll(body: readonly Stmt[], from: string, to: string): readonly Stmt[] {
  const names = new Map([[from, to]]);
  visitStmts(body, (s) => {
    if (s.s === 'let') names.set(s.var, `${s.var}_${to}`);
  });
  const rename = (x: Expr): Expr =>
    rewriteExpr(x, (y) => {
      const name = y.k === 'var' ? names.get(y.name) : undefined;
      return y.k === 'var' && name ? variable(name, y.dtype, y.lanes) : y;
    });
  const relabel = (list: readonly Stmt[]): readonly Stmt[] =>
    list.map((s): Stmt => {
      if (s.s === 'let' || s.s === 'set') return { ...s, var: names.get(s.var) ?? s.var };
      if (s.s === 'for') return { ...s, body: relabel(s.body) };
      if (s.s === 'if') return { ...s, then: relabel(s.then), else: relabel(s.else) };
      return s;
    });
  return relabel(mapExprs(body, rename));
}
