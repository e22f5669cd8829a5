// Weights of four bits take half a byte: a constant of bytes, all of whose values are among sixteen neighbours from −8 or from 0,
// is held two to a byte where a sum reads it for many rows. Pairs are neighbours along the axis before the innermost, so that
// vectors go along bytes and all their lanes take the same half. One row reads whole bytes, as its products are made of them.

import { e } from '../ir/expr.js';
import { readersOf, rewriteModule, visitNodes } from '../ir/rewrite.js';
import { cast, type Expr, i32, type LoadExpr, rewriteExpr } from '../ir/scalar.js';
import type { ConstData, Module, Value } from '../ir/tensor.js';
import { sizeOf } from '../support/tensor.js';
import type { PassContext } from './pass.js';
import { isByte } from './streamed-weights.js';
import { usesOf } from './weight-use.js';

/** Less is as well left alone. */
const MIN_ELEMENTS = 1024;
const BITS = 4;
const CODES = 1 << BITS;

interface Pairs {
  readonly data: ConstData;
  /** What code 0 stands for. */
  readonly least: number;
}

export function storeNibbles(m: Module, { vectors }: PassContext): Module {
  if (!vectors) return m;
  const found = findPairs(m);
  if (found.size === 0) return m;
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind === 'const') {
        const p = found.get(original.outputs[0] as Value);
        return p && w.emit({ kind: 'const', data: p.data }, [], [{ dtype: 'u8', shape: p.data.shape }], node.origin);
      }
      const pairs = original.inputs.map((v) => found.get(v));
      if (node.kind !== 'generic' || !pairs.some(Boolean)) return undefined;
      const body = rewriteExpr(node.body, (x) => {
        const p = x.k === 'load' ? pairs[x.src] : undefined;
        return p && x.k === 'load' ? oneOf(x, p) : x;
      });
      const types = node.outputs.map((o) => o.type);
      return w.emit({ ...node, body }, node.inputs, types, node.origin, node.binds);
    },
  });
}

/** The half of a byte that was at the load's position. */
function oneOf(x: LoadExpr, { least }: Pairs): Expr {
  const axis = x.index.length - 2;
  const at = x.index[axis] as Expr;
  const byte: Expr = { ...x, dtype: 'u8', index: x.index.map((i, k) => (k === axis ? e.div(at, 2) : i)) };
  const code = e.and(e.shrU(cast(byte, 'i32'), e.mul(e.rem(at, 2), BITS)), CODES - 1);
  return cast(e.add(code, i32(least)), x.dtype);
}

function findPairs(m: Module): ReadonlyMap<Value, Pairs> {
  const found = new Map<Value, Pairs>();
  const readers = readersOf(m);
  for (const entry of m.entries)
    visitNodes(entry.body, (n) => {
      if (n.kind !== 'const' || !isBytes(n.data)) return;
      const value = n.outputs[0] as Value;
      const uses = usesOf(value, readers);
      const pairs = uses.length > 0 && uses.every((u) => u === 'many' || u === 'open') ? pairsOf(n.data) : null;
      if (pairs) found.set(value, pairs);
    });
  return found;
}

const isBytes = ({ dtype, shape }: ConstData): boolean =>
  isByte(dtype) && shape.length >= 2 && sizeOf(shape) >= MIN_ELEMENTS;

function pairsOf(data: ConstData): Pairs | null {
  const { shape } = data;
  const values = data.read().data as Int8Array | Uint8Array;
  const low = values.some((v) => v < 0) ? -CODES / 2 : 0;
  if (!values.every((v) => v >= low && v < low + CODES)) return null;
  const [depth, width] = shape.slice(-2) as [number, number];
  const half = Math.ceil(depth / 2);
  const bytes = new Uint8Array((values.length / depth) * half);
  for (let k = 0; k < values.length; k++) {
    const [row, column] = [Math.floor(k / width), k % width];
    const [matrix, at] = [Math.floor(row / depth), row % depth];
    const to = (matrix * half + (at >> 1)) * width + column;
    bytes[to] = (bytes[to] as number) | (((values[k] as number) - low) << ((at & 1) * BITS));
  }
  const packed = { dtype: 'u8', shape: [...shape.slice(0, -2), half, width], data: bytes } as const;
  return { data: { ...packed, read: () => packed }, least: low };
}
