// Kernels that compute nothing: they move a tensor (a reshape, a transpose, a slice), cast it or add a bias. A GPU should
// have none, as a reader can do that on the way, unless somebody needs the result in memory as it is.

import type { Kernel, Stmt } from '../../src/ir/kernel.js';
import { visitStmts } from '../../src/ir/kernel-walk.js';
import type { BufferRef, Program, Step } from '../../src/ir/program.js';
import { type Expr, visitExpr } from '../../src/ir/scalar.js';

export interface Idle {
  readonly name: string;
  readonly work: 'move' | 'cast' | 'bias';
  /** Who needs the result in memory; null: nobody, the kernel should not be there. */
  readonly reason: string | null;
}

export function findIdle(program: Program): readonly Idle[] {
  const steps = program.entries.flatMap((e) => flatten(e.steps));
  const needed = neededBuffers(program);
  return steps.flatMap((s): readonly Idle[] => {
    if (s.kind !== 'kernel') return [];
    const kernel = program.kernels[s.kernel] as Kernel;
    const work = workOf(kernel);
    if (!work) return [];
    const written = kernel.params.flatMap((p, k) => (p.access === 'write' ? [(s.buffers[k] as BufferRef).buffer] : []));
    const reason =
      written.map((b) => needed.get(b) ?? reasonOfReaders(program, steps, b, needed)).find((r) => r !== null) ?? null;
    return [{ name: s.origins.map((o) => `${o.op} "${o.node}"`).join(' + ') || kernel.name, work, reason }];
  });
}

const flatten = (steps: readonly Step[]): readonly Step[] =>
  steps.flatMap((s): readonly Step[] => {
    if (s.kind === 'if') return [s, ...flatten(s.then), ...flatten(s.else)];
    if (s.kind === 'while') return [s, ...flatten(s.test), ...flatten(s.body)];
    return s.kind === 'loop' ? [s, ...flatten(s.body)] : [s];
  });

/** Buffers that must hold a value as it is, with who says so. */
function neededBuffers(program: Program): ReadonlyMap<number, string> {
  const needed = new Map<number, string>();
  for (const b of program.buffers) if (b.place.kind === 'state') needed.set(b.id, 'a state keeps it');
  for (const entry of program.entries) {
    for (const o of entry.outputs) needed.set(o.buffer, 'it is a result of the model');
    const within = (steps: readonly Step[], inside: boolean): void => {
      for (const s of steps) {
        if (s.kind === 'bind') needed.set(s.from.buffer, 'a size is read from it');
        if (s.kind === 'if' || s.kind === 'while') needed.set(s.cond.buffer, 'a condition is read from it');
        if (s.kind === 'host')
          for (const a of [...s.inputs, ...s.outputs]) needed.set(a.ref.buffer, 'a host step takes it');
        if (s.kind === 'kernel' && inside)
          for (const b of s.buffers) if (!needed.has(b.buffer)) needed.set(b.buffer, 'a loop or branch carries it');
        if (s.kind === 'kernel' && isProgram(program.kernels[s.kernel] as Kernel))
          for (const b of s.buffers) if (!needed.has(b.buffer)) needed.set(b.buffer, 'a loop program takes it');
        if (s.kind === 'loop') within(s.body, true);
        if (s.kind === 'if') [s.then, s.else].forEach((b) => void within(b, true));
        if (s.kind === 'while') [s.test, s.body].forEach((b) => void within(b, true));
      }
    };
    within(entry.steps, false);
  }
  return needed;
}

/** What a contraction reads so often is better joined or moved once than at each of its products. */
const OFTEN = 16;

function reasonOfReaders(
  program: Program,
  steps: readonly Step[],
  buffer: number,
  needed: ReadonlyMap<number, string>,
): string | null {
  const readers = steps.flatMap((s) => {
    if (s.kind !== 'kernel') return [];
    const kernel = program.kernels[s.kernel] as Kernel;
    const slot = s.buffers.findIndex((b, k) => b.buffer === buffer && kernel.params[k]?.access === 'read');
    return slot < 0 ? [] : [{ s, kernel }];
  });
  const elements = program.buffers[buffer]?.elements ?? 0;
  if (readers.some(({ kernel }) => productsOf(kernel) >= OFTEN * elements)) return 'a contraction reads it many times';
  const starts = ({ s, kernel }: (typeof readers)[number]): boolean =>
    workOf(kernel) === 'move' &&
    s.buffers.some((b, k) => kernel.params[k]?.access === 'write' && needed.get(b.buffer)?.startsWith('a loop'));
  return readers.length > 0 && readers.every(starts) ? 'a loop starts from it' : null;
}

/** Steps of a kernel's loops, where it reduces; what is open counts once. */
function productsOf(k: Kernel): number {
  let reduces = false;
  const setsIn = (body: readonly Stmt[]): number => body.reduce((n, s) => (s.s === 'set' ? n + s.value.lanes : n), 0);
  const steps = (body: readonly Stmt[]): number =>
    body.reduce(
      (most, s) => {
        if (s.s === 'set') reduces = true;
        if (s.s === 'if') return Math.max(most, steps(s.then), steps(s.else));
        if (s.s !== 'for') return most;
        const count = s.hi.k === 'const' && s.lo.k === 'const' ? (Number(s.hi.value) - Number(s.lo.value)) / s.step : 1;
        return Math.max(most, count * steps(s.body));
      },
      Math.max(1, setsIn(body)),
    );
  const found = steps(k.body);
  return reduces ? found : 0;
}

/** What indexes its operands as it likes, so that nothing can be computed on the way: sort, scatter. */
function isProgram(k: Kernel): boolean {
  let found = false;
  visitStmts(k.body, (s) => {
    found ||= s.s === 'while' || s.s === 'break';
  });
  return found || !k.body.some((s) => s.s === 'for' && s.mode === 'grid');
}

/** Null: it computes something. */
function workOf(k: Kernel): Idle['work'] | null {
  const values: Expr[] = [];
  let computes = false;
  const lets = new Map<string, Expr>();
  const held = new Set<number>();
  visitStmts(k.body, (s: Stmt) => {
    if (s.s === 'alloc') held.add(s.buf);
    if (s.s === 'let') {
      lets.set(s.var, s.value);
      computes ||= s.mutable;
    }
    if (s.s === 'set' || s.s === 'while' || s.s === 'atomic') computes = true;
    if (s.s === 'store') values.push(s.value);
  });
  if (computes) return null;
  const kinds = values.flatMap((v) => (readsOnly(v, held) ? [] : [kindOf(v, lets)]));
  if (kinds.some((kind) => kind === null) || kinds.length === 0) return null;
  return kinds.includes('bias') ? 'bias' : kinds.includes('cast') ? 'cast' : 'move';
}

/** What was put together in a local array before. */
const readsOnly = (v: Expr, held: ReadonlySet<number>): boolean => v.k === 'load' && held.has(v.src);

function kindOf(v: Expr, lets: ReadonlyMap<string, Expr>): Idle['work'] | null {
  if (v.k === 'var') {
    const value = lets.get(v.name);
    return value ? kindOf(value, lets) : null;
  }
  if (v.k === 'load') return looksUp(v, lets) ? null : 'move';
  if (v.k === 'vec') return v.args[0] ? kindOf(v.args[0], lets) : null;
  if (v.k === 'cast') return kindOf(v.arg, lets) && 'cast';
  if (v.k === 'op' && v.op === 'add' && v.args.every((x) => kindOf(x, lets) === 'move')) return 'bias';
  // A selection among moved parts: a concat.
  if (v.k === 'select') return [v.a, v.b].every((x) => x.k === 'const' || kindOf(x, lets) === 'move') ? 'move' : null;
  return null;
}

/** Whether data say which element is read: a gather is work. */
function looksUp(v: Expr & { k: 'load' }, lets: ReadonlyMap<string, Expr>): boolean {
  let found = false;
  const look = (x: Expr): void =>
    visitExpr(x, (y) => {
      if (y.k === 'load') found = true;
      const value = y.k === 'var' ? lets.get(y.name) : undefined;
      if (value) look(value);
    });
  v.index.forEach(look);
  return found;
}
