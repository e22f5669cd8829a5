// Vectors and memory. A buffer that a kernel only reads and writes four elements at a time, from multiples of four on, is
// one of vectors, with one access for the four. From any other buffer a vector comes element by element, and goes there
// likewise. Runs last, when words and local arrays have their final form.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, visitKernelExprs, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, i32, type LoadExpr, op, rewriteExpr, variable, vec } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { type DivisorOf, divideExactly } from '../../ir/alignment.js';
import { LANES } from './vector-cells.js';

export interface Quads {
  readonly kernel: Kernel;
  /** Parameters that are buffers of vectors. */
  readonly slots: ReadonlySet<number>;
}

const WORDS: ReadonlySet<DType> = new Set(['f32', 'i32', 'u32']);

export function bindQuads(kernel: Kernel, divisorOf: DivisorOf): Quads {
  const slots = findQuads(kernel, divisorOf);
  let names = 0;
  const name = (): string => `quad.${names++}`;
  const shifted = (x: Expr): Expr => op('shr_s', x, i32(Math.log2(LANES)));
  const divide = (x: Expr): Expr => divideExactly(x, LANES, divisorOf, shifted);
  const isQuad = (slot: number, lanes: number): boolean => lanes === LANES && slots.has(slot);
  const go = (body: readonly Stmt[]): readonly Stmt[] =>
    body.flatMap((stmt): readonly Stmt[] => {
      const before: Stmt[] = [];
      const letOf = (value: Expr): Expr => {
        const own = name();
        before.push({ s: 'let', var: own, value, mutable: false });
        return variable(own, value.dtype, value.lanes);
      };
      const memo = new Map<Expr, Expr>();
      const read = (x: Expr): Expr => {
        if (x.k !== 'load' || x.lanes === 1) return x;
        const index = x.index[0] as Expr;
        if (isQuad(x.src, x.lanes)) return { ...x, index: [divide(index)] };
        const each = index.lanes > 1 ? index : vec('iota', [index], 'i32', LANES);
        return { ...x, index: [each.k === 'var' ? each : letOf(each)] };
      };
      const s = mapStmt(stmt, (x) => rewriteExpr(x, read, memo), go);
      if (s.s === 'alloc' && slots.has(s.buf)) return [{ ...s, lanes: LANES }];
      if (s.s !== 'store' || s.value.lanes === 1) return [...before, s];
      if (isQuad(s.buf, s.value.lanes)) return [...before, { ...s, index: divide(s.index) }];
      const [at, value] = [letOf(s.index), letOf(s.value)];
      const each = Array.from(
        { length: LANES },
        (_, k): Stmt => ({
          s: 'store',
          buf: s.buf,
          index: op('add', at, i32(k)),
          value: vec('extract', [value], value.dtype, 1, k),
        }),
      );
      return [...before, ...each];
    });
  return { kernel: { ...kernel, body: go(kernel.body) }, slots };
}

function findQuads(kernel: Kernel, divisorOf: DivisorOf): ReadonlySet<number> {
  const good = new Set<number>();
  const bad = new Set<number>();
  kernel.params.forEach((p, slot) => {
    if (!WORDS.has(p.dtype)) bad.add(slot);
  });
  const isWhole = (x: LoadExpr): boolean => {
    const index = x.index[0] as Expr;
    return x.lanes === LANES && index.lanes === 1 && (x.guard?.lanes ?? 1) === 1 && divisorOf(index) % LANES === 0;
  };
  visitKernelExprs(kernel.body, (x) => {
    if (x.k === 'load') (isWhole(x) ? good : bad).add(x.src);
  });
  visitStmts(kernel.body, (s) => {
    if (s.s === 'atomic') bad.add(s.buf);
    if (s.s === 'alloc' && (!WORDS.has(s.dtype) || s.size % LANES !== 0)) bad.add(s.buf);
    if (s.s !== 'store') return;
    const isVector = s.value.lanes === LANES && divisorOf(s.index) % LANES === 0;
    (isVector ? good : bad).add(s.buf);
  });
  return new Set([...good].filter((slot) => !bad.has(slot)));
}
