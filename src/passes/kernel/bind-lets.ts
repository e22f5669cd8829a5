// Gives names to what is computed more than once: first loop-invariant parts move in front of their loops
// (bind-lets-hoist.ts), then every repeated sub-expression becomes a `let` right before its first use, in the innermost
// scope that dominates the others. Expects a legalized kernel. Loads are shared only while their buffer is unchanged.

import { bounds } from '../../ir/dim.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { type Expr, mapChildren, variable } from '../../ir/scalar.js';
import { type Exists, hasBareLoad, hoistInvariants, isFree, isSplat } from './bind-lets-hoist.js';
import { createNumbering, type Numbering } from './expr-numbering.js';
import { effectsOf, mapBodies, mapStmtExprs, namesOf } from './stmt-walk.js';

/** `keepsSplats`: a splat stays where it is used and only its scalar gets a name, for compilers that see to it. */
export function bindLets(kernel: Kernel, { keepsSplats = false } = {}): Kernel {
  const taken = namesOf(kernel.body);
  for (const sym of kernel.syms) taken.add(sym.name);
  const fresh = freshNames(taken);
  const how = { keepsSplats, fresh, exists: existsIn(kernel) };
  const hoisted = hoistInvariants(kernel, how);
  const counts = createWalk(null, how);
  walkBody(counts, hoisted);
  const binding = createWalk(counts.uses, how);
  return { ...kernel, body: walkBody(binding, hoisted) };
}

/** Single elements at a known place of a parameter that is never shorter. */
const existsIn =
  ({ params }: Kernel): Exists =>
  ({ src, index: [at], lanes }) => {
    const size = params[src]?.size;
    return at?.k === 'const' && size !== undefined && Number(at.value) + lanes <= bounds(size)[0];
  };

function freshNames(taken: ReadonlySet<string>): () => string {
  let next = 0;
  return () => {
    while (taken.has(`t${next}`)) next++;
    return `t${next++}`;
  };
}

/** Where a value is first computed; `name` once it has one. */
interface Site {
  readonly order: number;
  name: string | null;
}

/** The program is walked twice in the same order: once to count the uses of each site, once to bind. */
interface Walk {
  readonly numbering: Numbering;
  /** Uses by site order, being counted (first walk). */
  readonly uses: number[];
  /** Final counts (second walk), or null. */
  readonly counted: readonly number[] | null;
  /** Sites whose values are available here. */
  readonly sites: Map<number, Site>;
  /** Values to forget when the current scope ends. */
  scope: number[];
  /** Statements of the current list so far. */
  out: Stmt[];
  readonly bare: Map<Expr, boolean>;
  readonly keepsSplats: boolean;
  readonly fresh: () => string;
  readonly exists: Exists;
}

const createWalk = (
  counted: readonly number[] | null,
  { keepsSplats, fresh, exists }: Pick<Walk, 'keepsSplats' | 'fresh' | 'exists'>,
): Walk => ({
  numbering: createNumbering(),
  uses: [],
  counted,
  sites: new Map(),
  scope: [],
  out: [],
  bare: new Map(),
  keepsSplats,
  fresh,
  exists,
});

function walkBody(w: Walk, body: readonly Stmt[]): readonly Stmt[] {
  const { out, scope } = w;
  w.out = [];
  w.scope = [];
  for (const stmt of body) w.out.push(walkStmt(w, stmt));
  for (const id of w.scope) w.sites.delete(id);
  const result = w.out;
  w.out = out;
  w.scope = scope;
  return result;
}

function walkStmt(w: Walk, stmt: Stmt): Stmt {
  switch (stmt.s) {
    case 'let':
      return walkLet(w, stmt);
    case 'for':
    case 'while': {
      const own = stmt.s === 'for' ? mapStmtExprs(stmt, (e) => bind(w, e, boundsPlace(stmt))) : stmt;
      touch(w, [stmt]);
      const head = own.s === 'while' ? mapStmtExprs(own, (e) => bind(w, e, 'reuse')) : own;
      const result = mapBodies(head, (b) => walkBody(w, b));
      touch(w, [stmt]);
      return result;
    }
    case 'if': {
      const own = mapStmtExprs(stmt, (e) => bind(w, e, 'free')) as Stmt & { s: 'if' };
      const then = walkBody(w, own.then);
      touch(w, own.then);
      const otherwise = walkBody(w, own.else);
      touch(w, own.else);
      return { ...own, then, else: otherwise };
    }
    default: {
      const own = mapStmtExprs(stmt, (e) => bind(w, e, 'free'));
      touch(w, [stmt]);
      return own;
    }
  }
}

/** Nothing may stand between a grid and its loops. */
const boundsPlace = ({ mode }: Stmt & { s: 'for' }): Place => (mode === 'grid' || mode === 'local' ? 'reuse' : 'free');

/** An immutable `let` is a name for its value from here on. */
function walkLet(w: Walk, stmt: Stmt & { s: 'let' }): Stmt {
  if (stmt.mutable) return mapStmtExprs(stmt, (e) => bind(w, e, 'free'));
  const id = w.numbering.of(stmt.value);
  if (isFree(stmt.value) || w.sites.has(id)) return mapStmtExprs(stmt, (e) => bind(w, e, 'free'));
  const value = bindChildren(w, stmt.value, 'free');
  w.sites.set(id, { order: -1, name: stmt.var });
  w.scope.push(id);
  return { ...stmt, value };
}

/** Values that depend on what `body` changes get new numbers. */
function touch(w: Walk, body: readonly Stmt[]): void {
  const { assigned, written, barrier } = effectsOf(body);
  for (const name of assigned) w.numbering.touchVar(name);
  for (const slot of written) w.numbering.touchBuffer(slot);
  if (barrier) w.numbering.touchAllBuffers();
}

/** `free`: anything may be computed here. `guarded`: only what reads nothing unguarded. `reuse`: nothing new may. */
type Place = 'free' | 'guarded' | 'reuse';

function bind(w: Walk, e: Expr, place: Place): Expr {
  if (isFree(e)) return e;
  if (w.keepsSplats && isSplat(e)) return bindChildren(w, e, place);
  const id = w.numbering.of(e);
  const known = w.sites.get(id);
  if (known) {
    if (known.order >= 0 && !w.counted) w.uses[known.order] = (w.uses[known.order] ?? 0) + 1;
    return known.name === null ? e : variable(known.name, e.dtype, e.lanes);
  }
  const site = place === 'free' || (place === 'guarded' && !hasBareLoad(e, w.exists, w.bare)) ? openSite(w, id) : null;
  const value = bindChildren(w, e, place);
  if (!site || (w.counted?.[site.order] ?? 0) < 2) return value;
  site.name = w.fresh();
  w.out.push({ s: 'let', var: site.name, value, mutable: false });
  return variable(site.name, e.dtype, e.lanes);
}

function openSite(w: Walk, id: number): Site {
  const site: Site = { order: w.uses.length, name: null };
  w.uses.push(1);
  w.sites.set(id, site);
  w.scope.push(id);
  return site;
}

function bindChildren(w: Walk, e: Expr, place: Place): Expr {
  if (e.k !== 'load' || !e.guard) return mapChildren(e, (c) => bind(w, c, place));
  const guard = bind(w, e.guard, place);
  const below = place === 'reuse' ? 'reuse' : 'guarded';
  const index = e.index.map((x) => bind(w, x, below));
  const pad = e.pad && bind(w, e.pad, below);
  return { ...e, guard, index, pad };
}
