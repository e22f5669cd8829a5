// Kernels that are equal up to sizes become one function with those sizes as parameters: the layers of a network differ
// mostly in them. Where some differ, the merged kernel has a symbol, and each call passes its own value. Runs on planned
// programs, before values get names, as names hide what is equal.

import { bounds, type Dim, dimKey, dimSyms, type Sym, substituteDim, symDim } from '../ir/dim.js';
import type { BufferParam, Kernel, Stmt } from '../ir/kernel.js';
import { mapStmt, stmtBodies, stmtExprs, visitKernelExprs } from '../ir/kernel-walk.js';
import { findAliasing } from '../ir/overlap.js';
import type { Program, Step } from '../ir/program.js';
import { children, type Expr, exprKey, mapChildren, variable } from '../ir/scalar.js';
import { invariant } from '../support/errors.js';
import { createSizes, type Sizes, skeletonKey, withCanonicalNames } from './kernel/skeleton.js';

/** What a call passes for its kernel's symbols, in terms of those the kernel had before. */
interface Merged {
  readonly kernel: Kernel;
  /** For each member. */
  readonly dims: readonly (readonly Dim[])[];
}

/** What a call of a kernel becomes. */
interface Call {
  readonly kernel: number;
  readonly dims: readonly Dim[];
  readonly isShared: boolean;
}

export function mergeKernels(program: Program): Program {
  const aliasing = findAliasing(program);
  const canonical = program.kernels.map(withCanonicalNames);
  const groups = new Map<string, number[]>();
  canonical.forEach((k, i) => {
    const memory = aliasing[i]?.map((a) => (a.restrict ? 'r' : a.mixedTypes ? 'm' : 'a'));
    const key = `${memory?.join('')}|${skeletonKey(k)}`;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  const kernels: Kernel[] = [];
  const calls = new Map<number, Call>();
  for (const members of groups.values()) {
    const [only, ...others] = members;
    const { kernel, dims } =
      only !== undefined && others.length === 0
        ? alone(program.kernels[only] as Kernel)
        : merge(members.map((i) => canonical[i] as Kernel));
    members.forEach((i, m) => {
      calls.set(i, { kernel: kernels.length, dims: dims[m] ?? [], isShared: others.length > 0 });
    });
    kernels.push(kernel);
  }
  const retarget = (s: Step & { kind: 'kernel' }): Step => {
    const [own, call] = [program.kernels[s.kernel], calls.get(s.kernel)];
    invariant(own && call, 'a step calls a kernel of its program');
    const given = new Map(own.syms.map((sym, k) => [sym.name, s.dims[k] as Dim]));
    const here = (d: Dim): Dim => substituteDim(d, (sym) => given.get(sym.name));
    const moved = { ...s, kernel: call.kernel, dims: call.dims.map(here) };
    return call.isShared ? { ...moved, sizes: own.params.map((p) => here(p.size)) } : moved;
  };
  const entries = program.entries.map((e) => ({ ...e, steps: mapKernelSteps(e.steps, retarget) }));
  return { ...program, kernels, entries };
}

const alone = (kernel: Kernel): Merged => ({ kernel, dims: [kernel.syms.map(symDim)] });

function mapKernelSteps(steps: readonly Step[], f: (s: Step & { kind: 'kernel' }) => Step): readonly Step[] {
  const go = (list: readonly Step[]): readonly Step[] => mapKernelSteps(list, f);
  return steps.map((s): Step => {
    if (s.kind === 'kernel') return f(s);
    if (s.kind === 'if') return { ...s, then: go(s.then), else: go(s.else) };
    if (s.kind === 'loop') return { ...s, body: go(s.body) };
    return s.kind === 'while' ? { ...s, test: go(s.test), body: go(s.body) } : s;
  });
}

/** One kernel for all of these, whose skeletons and names are equal. */
function merge(members: readonly Kernel[]): Merged {
  const [first] = members;
  invariant(first, 'a group has members');
  const u = createUnifier(members);
  const body = unifyBodies(
    u,
    members.map((k) => k.body),
  );
  const params = first.params.map((p, k): BufferParam => {
    const most = members.map((m) => bounds((m.params[k] as BufferParam).size)[1]);
    return { ...p, size: Math.max(...most) };
  });
  const read = new Set<string>();
  visitKernelExprs(body, (e) => {
    if (e.k === 'var') read.add(e.name);
    if (e.k === 'dim') for (const name of dimSyms(e.dim).keys()) read.add(name);
  });
  const kept = first.syms.filter((s) => read.has(s.name));
  const own = [...u.made.values()];
  return {
    kernel: { ...first, params, body, syms: [...kept, ...own.map((n) => n.sym)] },
    dims: members.map((_, m) => [...kept.map(symDim), ...own.map((n) => n.values[m] as Dim)]),
  };
}

/** The symbols made for a group, each once for every list of values. */
interface Unifier {
  readonly sizes: readonly Sizes[];
  readonly made: Map<string, { readonly sym: Sym; readonly values: readonly Dim[] }>;
  readonly memo: Map<string, Expr>;
  readonly taken: ReadonlySet<string>;
}

const createUnifier = (members: readonly Kernel[]): Unifier => ({
  sizes: members.map(createSizes),
  made: new Map(),
  memo: new Map(),
  taken: new Set(members.flatMap((k) => k.syms.map((s) => s.name))),
});

function unifyBodies(u: Unifier, bodies: readonly (readonly Stmt[])[]): readonly Stmt[] {
  return (bodies[0] ?? []).map((s, i) => {
    const all = bodies.map((b) => b[i] as Stmt);
    const exprs = stmtExprs(s).map((_, k) => all.map((x) => stmtExprs(x)[k] as Expr));
    const inner = stmtBodies(s).map((_, k) => all.map((x) => stmtBodies(x)[k] as readonly Stmt[]));
    let [nextExpr, nextBody] = [0, 0];
    return mapStmt(
      s,
      () => unify(u, exprs[nextExpr++] as readonly Expr[]),
      () => unifyBodies(u, inner[nextBody++] as readonly (readonly Stmt[])[]),
    );
  });
}

/** The least general expression that each of these is an instance of. */
function unify(u: Unifier, exprs: readonly Expr[]): Expr {
  const [first] = exprs;
  invariant(first, 'something to unify');
  const keys = exprs.map(exprKey);
  if (keys.every((k) => k === keys[0])) return first;
  const key = keys.join();
  const known = u.memo.get(key);
  if (known) return known;
  const values = exprs.map((e, m) => (u.sizes[m] as Sizes)(e));
  const isSize = values.every((d) => d !== null);
  const made = isSize && !isScaled(exprs) ? sizeSymbol(u, values as Dim[]) : unifyChildren(u, exprs);
  u.memo.set(key, made);
  return made;
}

function unifyChildren(u: Unifier, exprs: readonly Expr[]): Expr {
  const lists = exprs.map(children);
  let next = 0;
  return mapChildren(exprs[0] as Expr, () => {
    const at = next++;
    return unify(
      u,
      lists.map((list) => list[at] as Expr),
    );
  });
}

/** All one size plus or times the same constant: that size may be a symbol already. */
function isScaled(exprs: readonly Expr[]): boolean {
  const [first] = exprs;
  if (first?.k !== 'op' || (first.op !== 'add' && first.op !== 'sub' && first.op !== 'mul')) return false;
  return exprs.every(
    (e) =>
      e.k === 'op' &&
      e.op === first.op &&
      e.args[1]?.k === 'const' &&
      exprKey(e.args[1]) === exprKey(first.args[1] as Expr),
  );
}

function sizeSymbol(u: Unifier, values: readonly Dim[]): Expr {
  const key = values.map(dimKey).join();
  const known = u.made.get(key);
  if (known) return variable(known.sym.name, 'i32');
  let n = u.made.size;
  while (u.taken.has(`size${n}`)) n++;
  const ranges = values.map(bounds);
  const sym = { name: `size${n}`, lo: Math.min(...ranges.map((r) => r[0])), hi: Math.max(...ranges.map((r) => r[1])) };
  (u.taken as Set<string>).add(sym.name);
  u.made.set(key, { sym, values });
  return variable(sym.name, 'i32');
}
