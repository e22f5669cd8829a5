// Local storage of a kernel: small register buffers whose every index is constant become locals, element by element;
// the rest gets fixed addresses in the scratch area, which all kernels share as only one runs at a time.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { stmtExprs, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, visitExpr } from '../../ir/scalar.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';

type Alloc = Extract<Stmt, { s: 'alloc' }>;

const MOST_REGISTERS = 64;

/** The element type and lanes with which every constant index of a buffer is used. */
export interface RegisterBuffer {
  readonly dtype: DType;
  readonly lanes: number;
  readonly elements: ReadonlySet<number>;
}

export interface Storage {
  /** By buffer slot. */
  readonly registers: ReadonlyMap<number, RegisterBuffer>;
  /** Byte offset in the scratch area, by buffer slot. */
  readonly offsets: ReadonlyMap<number, number>;
  readonly bytes: number;
}

interface Usage {
  readonly elements: Set<number>;
  readonly kinds: Set<string>;
  steady: boolean;
}

const align16 = (n: number): number => (n + 15) & ~15;

/** How each buffer slot is used over the whole kernel. */
function findUsage(kernel: Kernel): Map<number, Usage> {
  const usage = new Map<number, Usage>();
  const note = (buf: number, index: Expr | undefined, kind: string | null): void => {
    const u = usage.get(buf) ?? { elements: new Set<number>(), kinds: new Set<string>(), steady: true };
    usage.set(buf, u);
    if (index?.k !== 'const' || kind === null) u.steady = false;
    else {
      u.elements.add(Number(index.value));
      u.kinds.add(kind);
    }
  };
  const seen = new Set<Expr>();
  const visit = (e: Expr): void =>
    visitExpr(
      e,
      (x) => {
        if (x.k === 'load') note(x.src, x.index[0], x.guard?.lanes !== undefined ? null : `${x.dtype}x${x.lanes}`);
      },
      seen,
    );
  visitStmts(kernel.body, (s) => {
    for (const e of stmtExprs(s)) visit(e);
    if (s.s === 'store') note(s.buf, s.index, `${s.value.dtype}x${s.value.lanes}`);
    if (s.s === 'atomic') note(s.buf, s.index, null);
  });
  return usage;
}

/** Whether elements at those indices, `lanes` apart at least, never overlap. */
const areDisjoint = (elements: ReadonlySet<number>, lanes: number): boolean => {
  const sorted = [...elements].sort((a, b) => a - b);
  return sorted.every((e, i) => i === 0 || e - (sorted[i - 1] as number) >= lanes);
};

function asRegisters(alloc: Alloc, usage: Usage | undefined): RegisterBuffer | null {
  if (alloc.space !== 'register' || !usage?.steady || usage.kinds.size !== 1 || usage.elements.size > MOST_REGISTERS) {
    return null;
  }
  const [kind] = usage.kinds;
  const [dtype, lanes] = (kind as string).split('x') as [DType, string];
  const whole = DTYPE_INFO[dtype].bytes === DTYPE_INFO[alloc.dtype].bytes;
  if (!whole || !areDisjoint(usage.elements, Number(lanes))) return null;
  return { dtype, lanes: Number(lanes), elements: usage.elements };
}

/** Decides where each `alloc` of a kernel lives. */
export function planStorage(kernel: Kernel): Storage {
  const registers = new Map<number, RegisterBuffer>();
  const offsets = new Map<number, number>();
  let bytes = 0;
  const allocs: Alloc[] = [];
  visitStmts(kernel.body, (s) => {
    if (s.s === 'alloc') allocs.push(s);
  });
  const usage = allocs.length > 0 ? findUsage(kernel) : new Map<number, Usage>();
  for (const alloc of allocs) {
    const found = asRegisters(alloc, usage.get(alloc.buf));
    if (found) registers.set(alloc.buf, found);
    else if (!offsets.has(alloc.buf)) {
      offsets.set(alloc.buf, bytes);
      bytes = align16(bytes + alloc.size * DTYPE_INFO[alloc.dtype].bytes);
    }
  }
  return { registers, offsets, bytes };
}
