// Index arithmetic over sizes as data the host evaluates (executor/sizes.ts). Integers behave as in a kernel: `div` and `rem`
// truncate; conditions are 0 or 1.

import { evalDim } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { Expr } from '../../ir/scalar.js';
import { sizeOfDim } from '../entry-spec.js';
import type { Piece } from './pieces.js';
import type { GpuSize } from './plan-types.js';

/** Operations besides those of runtime/io.ts; their names stand in the data. */
const SAME = new Set(['sub', 'div', 'rem', 'min', 'max', 'and', 'or', 'xor', 'shl', 'shr_s', 'eq', 'lt', 'le', 'neg']);

/** `syms` gives each variable's size; null where the host cannot compute it. */
export function sizeOfExpr(x: Expr, syms: ReadonlyMap<string, GpuSize>): GpuSize | null {
  switch (x.k) {
    case 'const':
      return Number(x.value);
    case 'dim':
      return typeof x.dim === 'number' ? evalDim(x.dim, new Map()) : sizeOfDim(x.dim);
    case 'var':
      return syms.get(x.name) ?? null;
    case 'cast':
      return x.arg.dtype === 'i1' || x.dtype === 'i64' ? sizeOfExpr(x.arg, syms) : null;
    case 'select':
      return apply('select', [x.cond, x.a, x.b], syms);
    case 'op':
      if (x.op === 'add') return apply('+', x.args, syms);
      if (x.op === 'mul') return apply('*', x.args, syms);
      if (x.op === 'shr_u') return apply('shr_s', x.args, syms); // sizes are not negative
      return SAME.has(x.op) ? apply(x.op, x.args, syms) : null;
    default:
      return null;
  }
}

/** An element that a piece stores, whose value the host can tell; `load`: it is that of another element. */
export interface KnownStore {
  readonly slot: number;
  readonly index: GpuSize;
  readonly value: GpuSize | { readonly load: readonly [slot: number, index: GpuSize] };
}

/** What a single invocation stores by sizes alone, or copies; nothing where it does anything else. */
export function knownStores(kernel: Kernel, piece: Piece, syms: ReadonlyMap<string, GpuSize>): readonly KnownStore[] {
  if (piece.grid && piece.grid.most !== 1) return [];
  const values = new Map(syms);
  if (piece.grid) values.set(piece.grid.name, 0);
  const out: KnownStore[] = [];
  for (const s of piece.body) {
    if (s.s !== 'let' && s.s !== 'store') return [];
    const value = knownValue(s.value, values);
    if (value === null) return [];
    if (s.s === 'let') {
      if (s.mutable || (typeof value === 'object' && 'load' in value)) return [];
      values.set(s.var, value);
      continue;
    }
    const index = sizeOfExpr(s.index, values);
    if (index === null || !COUNTED.has(kernel.params[s.buf]?.dtype ?? '')) return [];
    out.push({ slot: s.buf, index, value });
  }
  return out;
}

function knownValue(x: Expr, values: ReadonlyMap<string, GpuSize>): KnownStore['value'] | null {
  if (x.k !== 'load' || x.guard) return sizeOfExpr(x, values);
  const index = sizeOfExpr(x.index[0] as Expr, values);
  return index === null ? null : { load: [x.src, index] };
}

const COUNTED: ReadonlySet<string> = new Set(['i32', 'i64']);

function apply(op: string, args: readonly Expr[], syms: ReadonlyMap<string, GpuSize>): GpuSize | null {
  const given = args.map((a) => sizeOfExpr(a, syms));
  if (given.some((a) => a === null)) return null;
  const [a, b] = given as GpuSize[];
  if (typeof a === 'number' && typeof b === 'number') {
    if (op === '+') return a + b;
    if (op === '*') return a * b;
    if (op === 'sub') return a - b;
    if (op === 'div' && b > 0) return Math.trunc(a / b);
  }
  return [op, ...(given as [GpuSize, GpuSize?, GpuSize?])];
}
