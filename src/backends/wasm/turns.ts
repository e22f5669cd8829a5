// A turn of a loop that stores many vectors, as several shorter ones in a row. Eight vectors side by side keep a processor busy
// where a product and a sum are two instructions. A fused one overwrites its addend: eight of them want copies of every constant, for which
// there are no registers, so in the module with relaxed SIMD they go four by four.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, namesRead, slotsOf } from '../../ir/kernel-walk.js';

/** Stores of a shorter turn. */
const AT_ONCE = 4;

export const shortenTurns = (kernel: Kernel): Kernel => {
  const isOwn = (slot: number): boolean => kernel.params[slot]?.access === 'scratch';
  const walk = (body: readonly Stmt[]): readonly Stmt[] =>
    body.map((s) => {
      const inner = mapStmt(s, (x) => x, walk);
      return inner.s === 'for' ? { ...inner, body: shorten(inner.body, isOwn) ?? inner.body } : inner;
    });
  return { ...kernel, body: walk(kernel.body) };
};

type Let = Extract<Stmt, { s: 'let' }>;

/** Null where the order may matter: stores to memory that is read here or may be another's, values of what is set. */
function shorten(body: readonly Stmt[], isOwn: (slot: number) => boolean): readonly Stmt[] | null {
  const stores = body.filter((s) => s.s === 'store');
  const sets = body.filter((s) => s.s === 'set');
  const lets = new Map(body.flatMap((s) => (s.s === 'let' && !s.mutable ? [[s.var, s] as const] : [])));
  if (stores.length < 2 * AT_ONCE || stores.length + sets.length + lets.size !== body.length) return null;
  const assigned = new Set(sets.map((s) => s.var));
  const loaded = slotsOf([...lets.values(), ...sets]);
  const fixed = [...lets.values(), ...stores].every((s) => [...namesRead([s])].every((name) => !assigned.has(name)));
  const isFree = stores.every((s) => s.value.k === 'var' && isOwn(s.buf) && !loaded.has(s.buf));
  if (!fixed || !isFree) return null;
  const out: Stmt[] = [];
  const done = new Set<string>();
  const put = (s: Stmt): void => {
    for (const name of namesRead([s])) {
      const before = lets.get(name);
      if (before && !done.has(name)) putLet(before);
    }
    out.push(s);
  };
  const putLet = (s: Let): void => {
    done.add(s.var);
    put(s);
  };
  const isReady = (s: Stmt | undefined): boolean =>
    s !== undefined && [...namesRead([s])].every((name) => !lets.has(name) || done.has(name));
  let next = 0;
  for (let at = 0; at < stores.length; at += AT_ONCE) {
    const turn = stores.slice(at, at + AT_ONCE);
    for (const s of turn)
      for (const name of namesRead([s])) if (lets.has(name) && !done.has(name)) putLet(lets.get(name) as Let);
    out.push(...turn);
    for (; isReady(sets[next]); next++) out.push(sets[next] as Stmt);
  }
  sets.slice(next).forEach(put);
  return out.length === body.length ? out : null;
}
