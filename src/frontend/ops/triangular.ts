// Matrices by their diagonals: keeping one side of one, and the identity.

import { e } from '../../ir/expr.js';
import { type Expr, i32 } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { type AnyRecord, op } from './record.js';
import { intAt } from './runtime-sizes.js';

export const records: readonly AnyRecord[] = [
  op('trilu', {
    doc: 'The upper or lower triangle of the last two axes; zero on the other side of diagonal k',
    inputs: ['x', 'k?'],
    onnx: {
      'Trilu@14': (n) => ({ upper: n.bool('upper', true) }),
      'com.microsoft:Trilu@1': (n) => ({ upper: n.bool('upper', true) }),
    },
    examples: [
      {
        in: {
          x: [
            [1, 2],
            [3, 4],
          ],
        },
        attrs: { upper: true },
        out: [
          [1, 2],
          [0, 4],
        ],
      },
    ],
    lower: ({ x, k }, { upper }, b, ctx) => {
      if (x.type.shape.length < 2) return ctx.limit('the input has no last two axes');
      return b.generic({
        shape: x.type.shape,
        body: (i, _r, read) => {
          const [row, column] = i.slice(-2) as [Expr, Expr];
          const diagonal = k ? intAt(read, k, 0) : i32(0);
          const offset = e.sub(column, row);
          const kept = upper ? e.ge(offset, diagonal) : e.le(offset, diagonal);
          return e.select(kept, read(x, i), e.const(0, x.type.dtype));
        },
      });
    },
  }),
  op('eye_like', {
    doc: 'Ones on diagonal k, zeros elsewhere, in the shape of x',
    inputs: ['x'],
    onnx: { 'EyeLike@9': (n) => ({ dtype: n.has('dtype') ? n.dtype('dtype') : undefined, k: n.int('k', 0) }) },
    lower: ({ x }, { dtype, k }: { readonly dtype: DType | undefined; readonly k: number }, b, ctx) => {
      if (x.type.shape.length !== 2) return ctx.limit('the input is not a matrix');
      const t = dtype ?? x.type.dtype;
      return b.generic({
        shape: x.type.shape,
        body: (i) => {
          const [row, column] = i as [Expr, Expr];
          return e.select(e.eq(column, e.add(row, k)), e.const(1, t), e.const(0, t));
        },
      });
    },
  }),
];
