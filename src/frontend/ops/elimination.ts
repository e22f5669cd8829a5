// Square matrices by elimination with row exchanges: determinants and inverses, as loop programs over a batch.

import type { Builder } from '../../ir/builder.js';
import { type Dim, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { constant, dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { statType } from './norm.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

/** The matrices of x [batch, n, n], one after the other in a scratch buffer. */
function forEachMatrix(
  k: KernelBuilder,
  src: Buf,
  m: Buf,
  body: (at: Expr, swapRows: (p: Expr, also: readonly Buf[]) => Expr) => void,
): void {
  const [batch, n] = src.shape as [Dim, Dim];
  const size = dimExpr(n);
  /** Brings the row with the largest pivot of column p to row p; whether rows were exchanged. */
  const swapRows = (p: Expr, also: readonly Buf[]): Expr => {
    const pivot = k.mut(p, 'pivot');
    k.for(e.add(p, 1), size, (r) => {
      k.if(e.lt(e.abs(k.load(m, [pivot, p])), e.abs(k.load(m, [r, p]))), () => k.set(pivot, r));
    });
    const moved = k.let(e.ne(pivot, p), 'moved');
    k.if(moved, () => {
      for (const buf of [m, ...also])
        k.for(0, size, (c) => {
          const held = k.let(k.load(buf, [p, c]), 'held');
          k.store(buf, [p, c], k.load(buf, [pivot, c]));
          k.store(buf, [pivot, c], held);
        });
    });
    return moved;
  };
  k.for(0, dimExpr(batch), (at) => {
    k.forEach([n, n], ([r, c]) => k.store(m, [r as Expr, c as Expr], k.load(src, [at, r as Expr, c as Expr])));
    body(at, swapRows);
  });
}

/** x as [batch, n, n]. */
function matrices(b: Builder, x: Value, ctx: LowerContext): Value {
  const { dtype, shape } = x.type;
  if (shape.length < 2 || !isFloat(dtype)) return ctx.limit('square matrices of floats are needed');
  const n = shape.at(-1) as Dim;
  return b.reshape(x, [product(shape.slice(0, -2)), n, n]);
}

/** The product of the pivots. */
function determinant(b: Builder, x: Value): Value {
  const { dtype } = x.type;
  const [batch, n] = x.type.shape as [Dim, Dim];
  const [out] = buildKernel(b, 'det', [x], (k) => {
    const [src] = k.inputs as [Buf];
    const result = k.output(dtype, [batch]);
    const m = k.scratch('matrix', dtype, [n, n]);
    forEachMatrix(k, src, m, (at, swapRows) => {
      const det = k.mut(constant(1, dtype), 'det');
      k.for(0, dimExpr(n), (p) => {
        k.if(swapRows(p, []), () => k.set(det, e.neg(det)));
        const value = k.let(k.load(m, [p, p]), 'value');
        k.set(det, e.mul(det, value));
        k.if(e.eq(value, constant(0, dtype)), () => k.break());
        k.for(e.add(p, 1), dimExpr(n), (r) => {
          const factor = k.let(e.div(k.load(m, [r, p]), value), 'factor');
          k.for(p, dimExpr(n), (c) => {
            k.store(m, [r, c], e.sub(k.load(m, [r, c]), e.mul(factor, k.load(m, [p, c]))));
          });
        });
      });
      k.store(result, [at], det);
    });
  });
  return out as Value;
}

/** The identity taken through the same steps (Gauss and Jordan). */
function inverse(b: Builder, x: Value): Value {
  const { dtype } = x.type;
  const [batch, n] = x.type.shape as [Dim, Dim];
  const [out] = buildKernel(b, 'inverse', [x], (k) => {
    const [src] = k.inputs as [Buf];
    const result = k.output(dtype, [batch, n, n]);
    const m = k.scratch('matrix', dtype, [n, n]);
    const r = k.scratch('result', dtype, [n, n]);
    forEachMatrix(k, src, m, (at, swapRows) => {
      const rows = (f: (row: Expr, column: Expr) => void): void =>
        k.forEach([n, n], ([row, column]) => f(row as Expr, column as Expr));
      rows((i, j) => k.store(r, [i, j], e.select(e.eq(i, j), constant(1, dtype), constant(0, dtype))));
      k.for(0, dimExpr(n), (p) => {
        swapRows(p, [r]);
        const scale = k.let(e.div(constant(1, dtype), k.load(m, [p, p])), 'scale');
        for (const buf of [m, r]) k.for(0, dimExpr(n), (c) => k.store(buf, [p, c], e.mul(k.load(buf, [p, c]), scale)));
        k.for(0, dimExpr(n), (row) => {
          k.if(e.ne(row, p), () => {
            const factor = k.let(k.load(m, [row, p]), 'factor');
            for (const buf of [m, r])
              k.for(0, dimExpr(n), (c) => {
                k.store(buf, [row, c], e.sub(k.load(buf, [row, c]), e.mul(factor, k.load(buf, [p, c]))));
              });
          });
        });
      });
      rows((i, j) => k.store(result, [at, i, j], k.load(r, [i, j])));
    });
  });
  return out as Value;
}

export const records: readonly AnyRecord[] = [
  op('det', {
    doc: 'Determinants of square matrices.',
    inputs: ['x'],
    onnx: { 'Det@11': () => ({}) },
    lower: ({ x }, _a, b, ctx) => b.reshape(determinant(b, matrices(b, x, ctx)), x.type.shape.slice(0, -2)),
  }),
  op('inverse', {
    doc: 'Inverses of square matrices.',
    inputs: ['x'],
    onnx: { 'com.microsoft:Inverse@1': () => ({}) },
    lower: ({ x }, _a, b, ctx) => {
      const wide = b.cast(matrices(b, x, ctx), statType(x.type.dtype));
      return b.cast(b.reshape(inverse(b, wide), x.type.shape), x.type.dtype);
    },
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
];
