// Rules that only WGSL needs: buffers hold 32-bit words, so elements of 8 and 16 bits are cut out of them and put back.
// Where an invocation has the words it writes to itself (own-words.ts), they are plain words; else the buffer keeps its
// narrow type, whose cells are atomic, as neighbours in a word belong to different invocations.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, visitStmts } from '../../ir/kernel-walk.js';
import {
  bitcast,
  cast,
  type Expr,
  i32,
  type LoadExpr,
  load,
  op,
  rewriteExpr,
  select,
  variable,
  vec,
} from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { type StoredType, storedType } from '../lang.js';
import type { DivisorOf } from '../../ir/alignment.js';
import { isPacked } from './lang.js';
import { findOwned, type Owner } from './own-words.js';
import { LANES } from './vector-cells.js';

interface Walk {
  /** Slots of packed elements held as words: only read, or written by who owns the words. */
  readonly words: ReadonlyMap<number, StoredType>;
  /** Slots of packed elements that several invocations write into a word of. */
  readonly atomics: ReadonlySet<number>;
  /** Local arrays of narrow integers, held one to an i32. */
  readonly narrow: ReadonlyMap<number, StoredType>;
  readonly memo: Map<Expr, Expr>;
  readonly divisorOf: DivisorOf;
  readonly fresh: () => string;
}

const widthOf = (type: StoredType): number => (type.endsWith('8') ? 8 : 16);
/** Elements of a word. */
const perWord = (type: StoredType): number => 32 / widthOf(type);
/** The word an element is in. */
const wordOf = (index: Expr, type: StoredType): Expr => op('shr_s', index, i32(Math.log2(perWord(type))));

export function splitWords(kernel: Kernel, owner: Owner, divisorOf: DivisorOf): Kernel {
  const written = new Set<number>();
  const narrow = new Map<number, StoredType>();
  visitStmts(kernel.body, (s) => {
    if (s.s === 'store' || s.s === 'atomic') written.add(s.buf);
    if (s.s === 'alloc' && isPacked(storedType(s.dtype))) narrow.set(s.buf, storedType(s.dtype));
  });
  const packed = kernel.params.flatMap((p, slot) => (isPacked(storedType(p.dtype)) ? [slot] : []));
  const typeOf = (slot: number): StoredType => storedType((kernel.params[slot] as { dtype: DType }).dtype);
  const sizes = new Map(packed.filter((s) => written.has(s)).map((s) => [s, perWord(typeOf(s))]));
  const owned = findOwned(kernel, sizes, owner, divisorOf);
  const isWord = (slot: number): boolean => !written.has(slot) || owned.has(slot);
  let names = 0;
  const w: Walk = {
    words: new Map(packed.filter(isWord).map((s) => [s, typeOf(s)])),
    atomics: new Set(packed.filter((s) => !isWord(s))),
    narrow,
    memo: new Map(),
    divisorOf,
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
  if (s.s !== 'store') return [s];
  const word = w.words.get(s.buf);
  if (word && s.value.lanes > 1) return wholeWords(w, s, word);
  if (word) return partOfWord(w, s, word);
  return w.atomics.has(s.buf) ? oneByOne(w, s) : [s];
}

type Store = Extract<Stmt, { s: 'store' }>;

const letOf = (name: string, value: Expr): Stmt => ({ s: 'let', var: name, value, mutable: false });

/** The cell repeats its operands. */
function oneByOne(w: Walk, s: Store): readonly Stmt[] {
  const { dtype, lanes } = s.value;
  const [at, value] = [w.fresh(), w.fresh()];
  const all = variable(value, dtype, lanes);
  const stores = Array.from({ length: lanes }, (_, k): readonly Stmt[] => {
    const place = k === 0 ? at : w.fresh();
    const index = variable(place, 'i32');
    return [
      ...(k === 0 ? [] : [letOf(place, op('add', variable(at, 'i32'), i32(k)))]),
      { s: 'store', buf: s.buf, index, value: lanes === 1 ? all : vec('extract', [all], dtype, 1, k) },
    ];
  });
  return [letOf(at, s.index), letOf(value, s.value), ...stores.flat()];
}

/** Lanes that fill words. */
function wholeWords(w: Walk, s: Store, type: StoredType): readonly Stmt[] {
  const [width, count] = [widthOf(type), perWord(type)];
  const name = w.fresh();
  const bits = op('and', cast(s.value, 'i32'), i32(2 ** width - 1));
  const at = (lane: number): Expr => vec('extract', [variable(name, 'i32', LANES)], 'i32', 1, lane);
  const first = wordOf(s.index, type);
  const stores = Array.from({ length: LANES / count }, (_, k): Stmt => {
    const parts = Array.from({ length: count }, (_x, p) => op('shl', at(k * count + p), i32(p * width)));
    const value = bitcast(
      parts.reduce((a, b) => op('or', a, b)),
      'u32',
    );
    return { s: 'store', buf: s.buf, index: op('add', first, i32(k)), value };
  });
  return [letOf(name, bits), ...stores];
}

/** An element into its word, whose other elements stay. */
function partOfWord(w: Walk, s: Store, type: StoredType): readonly Stmt[] {
  const width = widthOf(type);
  const [at, up] = [w.fresh(), w.fresh()];
  const mask = i32(2 ** width - 1);
  const place = wordOf(variable(at, 'i32'), type);
  const shift = op('mul', op('and', variable(at, 'i32'), i32(perWord(type) - 1)), i32(width));
  const old = op(
    'and',
    bitcast(load(s.buf, [place], 'u32'), 'i32'),
    op('xor', op('shl', mask, variable(up, 'i32')), i32(-1)),
  );
  const own = op('shl', op('and', cast(s.value, 'i32'), mask), variable(up, 'i32'));
  return [
    letOf(at, s.index),
    letOf(up, shift),
    { s: 'store', buf: s.buf, index: place, value: bitcast(op('or', old, own), 'u32') },
  ];
}

/** Its children are rewritten already. A load outside of a buffer is harmless in WGSL, so guards become selections. */
function rewriteLoad(w: Walk, x: LoadExpr): Expr {
  const type = w.words.get(x.src);
  if (!type) return x;
  const value = x.lanes === 1 ? oneElement(x, type) : lanesOf(w, x, type);
  if (!x.guard) return value;
  return select(x.guard, value, x.pad ? cast(x.pad, 'i32') : i32(0));
}

function oneElement(x: LoadExpr, type: StoredType): Expr {
  const index = x.index[0] as Expr;
  return extract(bitcast(load(x.src, [wordOf(index, type)], 'u32'), 'i32'), index, type);
}

/** Consecutive elements from a boundary on are one word; others a word each. */
function lanesOf(w: Walk, x: LoadExpr, type: StoredType): Expr {
  const index = x.index[0] as Expr;
  if (index.lanes === 1 && perWord(type) === LANES && w.divisorOf(index) % LANES === 0) {
    const word = bitcast(load(x.src, [wordOf(index, type)], 'u32'), 'i32');
    return extract(vec('splat', [word], 'i32', LANES), vec('iota', [i32(0)], 'i32', LANES), type);
  }
  const each = index.lanes > 1 ? index : vec('iota', [index], 'i32', LANES);
  return extract(bitcast(load(x.src, [wordOf(each, type)], 'u32', { lanes: LANES }), 'i32'), each, type);
}

/** Element `index` of the word it is in, as i32. */
function extract(word: Expr, index: Expr, type: StoredType): Expr {
  const width = widthOf(type);
  const at = op('mul', op('and', index, i32(perWord(type) - 1)), i32(width));
  if (type.startsWith('u')) return op('and', op('shr_u', word, at), i32(2 ** width - 1));
  const up = op('shl', word, op('sub', i32(32 - width), at));
  return op('shr_s', up, i32(32 - width));
}

/** What a buffer of narrow type would keep of an i32. */
function wrap(value: Expr, type: StoredType): Expr {
  const x = cast(value, 'i32');
  const width = widthOf(type);
  if (type.startsWith('u')) return op('and', x, i32(2 ** width - 1));
  return op('shr_s', op('shl', x, i32(32 - width)), i32(32 - width));
}
