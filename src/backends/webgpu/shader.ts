// One piece of a kernel as a WGSL module. A pattern says how its buffers are bound at a place where it is used: which
// parameters share a binding (one buffer read and written), and which start at an offset of their own.

import type { Sym } from '../../ir/dim.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt } from '../../ir/kernel-walk.js';
import { type Expr, op, rewriteExpr, variable } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { CompileError, invariant } from '../../support/errors.js';
import { printKernel } from '../clike.js';
import { type StoredType, storedType } from '../lang.js';
import { collectTexts } from './collect.js';
import { findHelper } from './helpers.js';
import { isPacked, WGSL, WGSL_TYPES } from './lang.js';
import { freeVars, type Piece } from './pieces.js';
import { specialize } from './specialize.js';
import { splitWords } from './words.js';

export const WORKGROUP = 64;

export interface Pattern {
  /** For each of the piece's slots, in order: which binding it uses. */
  readonly bindings: readonly number[];
  /** For each of the piece's slots: whether it starts at an offset given as a size. */
  readonly moved: readonly boolean[];
}

export interface Shader {
  readonly name: string;
  readonly code: string;
  readonly access: readonly ('read' | 'write')[];
  /** What the sizes after `total` and `width` are: the kernel's symbols by position, then offsets by position in `slots`. */
  readonly sizes: readonly ({ readonly sym: number } | { readonly offset: number })[];
}

export function writeShader(kernel: Kernel, piece: Piece, pattern: Pattern): Shader {
  const bound = bindSlots(kernel, piece, pattern);
  const baseNames = piece.slots.map((_, k) => `base.${k}`);
  const bases = new Map<number, Expr>();
  piece.slots.forEach((slot, k) => {
    if (pattern.moved[k]) bases.set(slot, variable(baseNames[k] as string, 'i32'));
  });
  const merged = specialize(splitWords(bindBuffers({ ...kernel, body: piece.body }, bound, bases)));
  const free = freeVars(merged.body);
  const symbols = kernel.syms.flatMap((s, k) => (free.has(s.name) ? [{ sym: s, at: { sym: k } }] : []));
  const offsets = piece.slots.flatMap((_, k): { sym: Sym; at: { offset: number } }[] =>
    pattern.moved[k] ? [{ sym: { name: baseNames[k] as string, lo: 0, hi: 2 ** 31 - 1 }, at: { offset: k } }] : [],
  );
  const sizes = [...symbols, ...offsets];
  const gridSym = piece.grid && { name: piece.grid.name, lo: 0, hi: Math.max(0, piece.grid.most - 1) };
  const syms = [...sizes.map((s) => s.sym), ...(gridSym ? [gridSym] : [])];
  const helpers = new Set<string>();
  const printed = printKernel({ ...merged, syms }, WGSL, (h) => void helpers.add(h));
  const access = bound.slots.map((slot) => (bound.written.has(slot) ? ('write' as const) : ('read' as const)));
  const buffers = printed.params.map(
    (p, k) =>
      `@group(0) @binding(${k + 1}) var<storage, ${access[k] === 'write' ? 'read_write' : 'read'}> ${p.name}: ` +
      `array<${elementType(p.type, access[k] === 'write')}>;`,
  );
  const shared = printed.lines.filter(isShared);
  const sizeNames = sizes.map((_, k) => printed.syms[k] as string);
  const lines = [
    ...(usesWide(printed.params, [...printed.lines], helpers) ? ['alias wide = vec2<u32>;', ''] : []),
    `struct Sizes {\n  total: u32,\n  width: u32,\n${sizeNames.map((n) => `  ${n}: i32,\n`).join('')}}`,
    '@group(0) @binding(0) var<uniform> sizes: Sizes;',
    ...buffers,
    '',
    ...collectTexts(helpers, findHelper).flatMap((t) => [t, '']),
    ...shared.map((l) => l.trimStart()),
    ...head(gridSym ? (printed.syms[sizes.length] as string) : null, piece.grid?.shared ?? false),
    ...sizeNames.map((n) => `  let ${n}: i32 = sizes.${n};`),
    ...printed.lines.filter((l) => !isShared(l)),
    '}',
    '',
  ];
  return { name: kernel.name, code: lines.join('\n'), access, sizes: sizes.map((s) => s.at) };
}

const isShared = (line: string): boolean => line.trimStart().startsWith('var<workgroup>');

const head = (grid: string | null, shared: boolean): string[] =>
  grid === null
    ? ['@compute @workgroup_size(1, 1, 1)', 'fn main() {']
    : [
        `@compute @workgroup_size(${WORKGROUP}, 1, 1)`,
        'fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {',
        `  let at = ${shared ? 'group.y * sizes.width + group.x' : `(group.y * sizes.width + group.x) * ${WORKGROUP}u + lane`};`,
        '  if (at >= sizes.total) { return; }',
        `  let ${grid}: i32 = i32(at);`,
      ];

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
