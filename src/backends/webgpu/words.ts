// Rules that only WGSL needs: buffers hold 32-bit words, so elements of 8 and 16 bits are cut out of them. Buffers of
// narrow elements that a kernel writes keep their type: their cells are atomic, as neighbours in a word belong to
// different invocations.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, visitStmts } from '../../ir/kernel-walk.js';
import { bitcast, cast, type Expr, i32, type LoadExpr, op, rewriteExpr, select, variable } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { isPacked } from './lang.js';
import { type StoredType, storedType } from '../lang.js';

interface Walk {
  /** Slots of packed elements that are only read. */
  readonly words: ReadonlyMap<number, StoredType>;
  /** Slots of packed elements that are written. */
  readonly atomics: ReadonlySet<number>;
  /** Local arrays of narrow integers, held one to an i32. */
  readonly narrow: ReadonlyMap<number, StoredType>;
  readonly memo: Map<Expr, Expr>;
  readonly fresh: () => string;
}

export function splitWords(kernel: Kernel): Kernel {
  const written = new Set<number>();
  const narrow = new Map<number, StoredType>();
  visitStmts(kernel.body, (s) => {
    if (s.s === 'store' || s.s === 'atomic') written.add(s.buf);
    if (s.s === 'alloc' && isPacked(storedType(s.dtype))) narrow.set(s.buf, storedType(s.dtype));
  });
  const packed = kernel.params.flatMap((p, slot) => (isPacked(storedType(p.dtype)) ? [slot] : []));
  const typeOf = (slot: number): StoredType => storedType((kernel.params[slot] as { dtype: DType }).dtype);
  let names = 0;
  const w: Walk = {
    words: new Map(packed.filter((s) => !written.has(s)).map((s) => [s, typeOf(s)])),
    atomics: new Set(packed.filter((s) => written.has(s))),
    narrow,
    memo: new Map(),
    fresh: () => `part.${names++}`,
  };
  const params = kernel.params.map((p, slot) => (w.words.has(slot) ? { ...p, dtype: 'u32' as const } : p));
  return { ...kernel, params, body: rewriteBody(w, kernel.body) };
}

const rewriteBody = (w: Walk, body: readonly Stmt[]): readonly Stmt[] => body.flatMap((s) => rewriteStmt(w, s));

function rewriteStmt(w: Walk, stmt: Stmt): readonly Stmt[] {
  const s = mapStmt(
    stmt,
    (x) => rewriteExpr(x, (y) => (y.k === 'load' ? rewriteLoad(w, y) : y), w.memo),
    (body) => rewriteBody(w, body),
  );
  if (s.s === 'alloc' && w.narrow.has(s.buf)) return [{ ...s, dtype: 'i32' }];
  if (s.s !== 'store' && s.s !== 'atomic') return [s];
  const type = w.narrow.get(s.buf);
  if (type) return [{ ...s, value: wrap(s.value, type) }];
  return w.atomics.has(s.buf) && s.s === 'store' ? namedStore(w, s.buf, s.index, s.value) : [s];
}

/** The cell repeats its operands. */
function namedStore(w: Walk, buf: number, index: Expr, value: Expr): readonly Stmt[] {
  const names = { at: w.fresh(), value: w.fresh() };
  return [
    { s: 'let', var: names.at, value: index, mutable: false },
    { s: 'let', var: names.value, value, mutable: false },
    { s: 'store', buf, index: variable(names.at, 'i32'), value: variable(names.value, value.dtype) },
  ];
}

/** Its children are rewritten already. A load outside of a buffer is harmless in WGSL, so guards become selections. */
function rewriteLoad(w: Walk, x: LoadExpr): Expr {
  const index = x.index[0] as Expr;
  const type = w.words.get(x.src);
  if (!type) return x;
  const word: Expr = { ...x, index: [op('shr_s', index, i32(type.endsWith('8') ? 2 : 1))], dtype: 'u32' };
  const plain = { ...word, guard: undefined, pad: undefined };
  const value = extract(bitcast(plain, 'i32'), index, type);
  if (!x.guard) return value;
  return select(x.guard, value, x.pad ? cast(x.pad, 'i32') : i32(0));
}

/** Element `index` of the word it is in, as i32. */
function extract(word: Expr, index: Expr, type: StoredType): Expr {
  const width = type.endsWith('8') ? 8 : 16;
  const at = op('mul', op('and', index, i32(32 / width - 1)), i32(width));
  if (type.startsWith('u')) return op('and', op('shr_u', word, at), i32(2 ** width - 1));
  const up = op('shl', word, op('sub', i32(32 - width), at));
  return op('shr_s', up, i32(32 - width));
}

/** What a buffer of narrow type would keep of an i32. */
function wrap(value: Expr, type: StoredType): Expr {
  const x = cast(value, 'i32');
  const width = type.endsWith('8') ? 8 : 16;
  if (type.startsWith('u')) return op('and', x, i32(2 ** width - 1));
  return op('shr_s', op('shl', x, i32(32 - width)), i32(32 - width));
}
