// One piece of a kernel as WGSL. A pattern says how its buffers are bound at a place where it is used: which parameters
// share a binding (one buffer read and written), and which start at an offset of their own. Next: shader-module.ts.

import type { Sym } from '../../ir/dim.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt } from '../../ir/kernel-walk.js';
import { type Expr, op, rewriteExpr, variable } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { CompileError, invariant } from '../../support/errors.js';
import { printKernel } from '../clike.js';
import { type StoredType, storedType } from '../lang.js';
import { createDivisors } from '../../ir/alignment.js';
import { isPacked, WGSL, WGSL_TYPES } from './lang.js';
import { ownElements } from './own-elements.js';
import { freeVars, type Piece } from './pieces.js';
import { bindQuads } from './quads.js';
import { specialize } from './specialize.js';
import { vectorType } from './vector-cells.js';
import { splitWords } from './words.js';

export interface Pattern {
  /** For each of the piece's slots, in order: which binding it uses. */
  readonly bindings: readonly number[];
  /** For each of the piece's slots: whether it starts at an offset given as a size, and what that is a multiple of. */
  readonly moved: readonly (number | false)[];
}

/** A piece as WGSL, not yet a module: shader-module.ts puts one or several together. */
export interface Part {
  readonly name: string;
  readonly bindings: readonly Binding[];
  /** What its part of the uniform holds: the kernel's symbols by position, offsets by position in `slots`, constants. */
  readonly sizes: readonly PartSize[];
  /** Names of the sizes in the text. */
  readonly sizeNames: readonly string[];
  /** The name of the grid's variable, and whether a workgroup of so many lanes has one value of it; null: a single invocation. */
  readonly grid: { readonly name: string; readonly shared: boolean; readonly lanes: number } | null;
  readonly helpers: readonly string[];
  /** Whether 64-bit integers occur. */
  readonly wide: boolean;
  /** Arrays in workgroup memory: declarations at the module's level. */
  readonly shared: readonly SharedArray[];
  readonly lines: readonly string[];
}

export type PartSize = { readonly sym: number } | { readonly offset: number } | { readonly constant: number };

export interface SharedArray {
  readonly name: string;
  /** Of an element, in WGSL. */
  readonly type: string;
  readonly size: number;
}

export interface Binding {
  readonly name: string;
  /** Of an element, in WGSL. */
  readonly type: string;
  readonly access: 'read' | 'write';
}

export function writePart(kernel: Kernel, piece: Piece, pattern: Pattern): Part {
  const bound = bindSlots(kernel, piece, pattern);
  const gridSym = piece.grid && { name: piece.grid.name, lo: 0, hi: Math.max(0, piece.grid.most - 1) };
  const baseNames = piece.slots.map((_, k) => `base.${k}`);
  const bases = new Map<number, Expr>();
  piece.slots.forEach((slot, k) => {
    if (pattern.moved[k]) bases.set(slot, variable(baseNames[k] as string, 'i32'));
  });
  const placed = bindBuffers(ownElements({ ...kernel, body: piece.body }), bound, bases);
  const known = new Map(piece.slots.map((_, k) => [baseNames[k] as string, pattern.moved[k] || 1]));
  const gridName = piece.grid?.name ?? null;
  const words = splitWords(
    { ...placed, syms: gridSym ? [...placed.syms, gridSym] : placed.syms },
    { grid: gridName, shared: piece.grid?.shared ?? false, most: piece.grid?.most ?? 1 },
    createDivisors(placed.body, known),
  );
  const quads = bindQuads(words, createDivisors(words.body, known));
  const merged = specialize(quads.kernel);
  const free = freeVars(merged.body);
  const symbols = kernel.syms.flatMap((s, k) => (free.has(s.name) ? [{ sym: s, at: { sym: k } }] : []));
  const offsets = piece.slots.flatMap((_, k): { sym: Sym; at: { offset: number } }[] =>
    pattern.moved[k] ? [{ sym: { name: baseNames[k] as string, lo: 0, hi: 2 ** 31 - 1 }, at: { offset: k } }] : [],
  );
  const sizes = [...symbols, ...offsets];
  const syms = [...sizes.map((s) => s.sym), ...(gridSym ? [gridSym] : [])];
  const helpers = new Set<string>();
  const printed = printKernel({ ...merged, syms }, WGSL, (h) => void helpers.add(h));
  const bindings = printed.params.map((p, k): Binding => {
    const isWritten = bound.written.has(bound.slots[k] as number);
    const type = quads.slots.has(k) ? vectorType(p.type) : elementType(p.type, isWritten);
    return { name: p.name, type, access: isWritten ? 'write' : 'read' };
  });
  return {
    name: kernel.name,
    bindings,
    sizes: sizes.map((s) => s.at),
    sizeNames: sizes.map((_, k) => printed.syms[k] as string),
    grid: gridSym && {
      name: printed.syms[sizes.length] as string,
      shared: piece.grid?.shared ?? false,
      lanes: piece.grid?.lanes ?? 0,
    },
    helpers: [...helpers],
    wide: usesWide(printed.params, printed.lines, helpers),
    shared: printed.lines.flatMap((l) => {
      const [, name, type, size] = SHARED.exec(l) ?? [];
      return name && type ? [{ name, type, size: Number(size) }] : [];
    }),
    lines: printed.lines.filter((l) => !SHARED.test(l)),
  };
}

const SHARED = /^\s*var<workgroup> (\w+): array<([\w<>]+), (\d+)>/;

function elementType(type: StoredType, written: boolean): string {
  if (!isPacked(type)) return WGSL_TYPES[type];
  invariant(written, 'narrow elements that are only read are words');
  return 'atomic<u32>';
}

const usesWide = (
  params: readonly { readonly type: StoredType }[],
  lines: readonly string[],
  helpers: ReadonlySet<string>,
): boolean =>
  params.some((p) => p.type === 'i64' || p.type === 'u64') ||
  lines.some((l) => /\bwide\b/.test(l)) ||
  [...helpers].some((h) => /64|wide/.test(h));

interface Bound {
  /** The slot that stands for each binding. */
  readonly slots: readonly number[];
  readonly slotOf: ReadonlyMap<number, number>;
  readonly written: ReadonlySet<number>;
}

function bindSlots(kernel: Kernel, piece: Piece, pattern: Pattern): Bound {
  const slots: number[] = [];
  const slotOf = new Map<number, number>();
  const written = new Set<number>();
  piece.slots.forEach((slot, k) => {
    const binding = pattern.bindings[k] as number;
    const first = slots[binding] ?? slot;
    slots[binding] = first;
    slotOf.set(slot, first);
    if (piece.written.has(slot)) written.add(first);
    const [a, b] = [kernel.params[first], kernel.params[slot]];
    invariant(a && b, 'a piece touches its kernel’s parameters');
    if (storedType(a.dtype) !== storedType(b.dtype))
      throw new CompileError('E301', `"${kernel.name}" uses one buffer as ${a.dtype} and as ${b.dtype}`);
  });
  return { slots, slotOf, written };
}

/** Parameters become bindings, with offsets added to what indexes them; local arrays follow. */
function bindBuffers(kernel: Kernel, bound: Bound, bases: ReadonlyMap<number, Expr>): Kernel {
  const position = new Map(bound.slots.map((slot, k) => [slot, k]));
  const number = (slot: number): number =>
    slot < kernel.params.length
      ? (position.get(bound.slotOf.get(slot) as number) as number)
      : slot - kernel.params.length + bound.slots.length;
  const moved = (slot: number, index: Expr): Expr => {
    const base = bases.get(slot);
    return base ? op('add', base, index) : index;
  };
  const memo = new Map<Expr, Expr>();
  const bindLoad = (x: Expr): Expr =>
    x.k === 'load' ? { ...x, src: number(x.src), index: x.index.map((i) => moved(x.src, i)) } : x;
  const bindBody = (body: readonly Stmt[]): readonly Stmt[] =>
    body.map((stmt) => {
      const s = mapStmt(stmt, (x) => rewriteExpr(x, bindLoad, memo), bindBody);
      if (s.s === 'alloc') return { ...s, buf: number(s.buf) };
      return s.s === 'store' || s.s === 'atomic' ? { ...s, buf: number(s.buf), index: moved(s.buf, s.index) } : s;
    });
  const params = bound.slots.map((slot) => kernel.params[slot] as Kernel['params'][number]);
  return { ...kernel, params, body: bindBody(kernel.body) };
}

/** Bytes of an element as the device holds it. */
export const deviceBytes = (t: keyof typeof DTYPE_INFO): number => (t === 'f64' ? 4 : DTYPE_INFO[t].bytes);
