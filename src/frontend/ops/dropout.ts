// Dropout: the identity when a model runs. In training mode, which a model may choose at run time, elements are dropped by
// a hash of their position, so that the same call gives the same result; no runtime's random numbers are reproduced.

import type { Builder, Read } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { bitcast, cast, constant, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { type AnyRecord, op } from './record.js';

interface DropoutAttrs {
  /** Element type of the mask. */
  readonly mask: DType | 'same';
  /** The inputs `ratio` and `training` count. */
  readonly training: boolean;
}

/** A number in [0, 1) for an element, by a PCG hash of its position. */
function uniformAt(x: Value, i: readonly Expr[]): Expr {
  const u = (n: number): Expr => constant(n, 'u32');
  const flat = i.reduce((p, v, k) => e.add(e.mul(p, e.dim(x.type.shape[k] ?? 1)), v), i32(0) as Expr);
  const state = e.add(e.mul(bitcast(flat, 'u32'), u(747796405)), u(2891336453));
  const word = e.mul(e.xor(e.shrU(state, e.add(e.shrU(state, u(28)), u(4))), state), u(277803737));
  const bits = e.shrU(e.xor(e.shrU(word, u(22)), word), u(8));
  return e.mul(cast(bitcast(bits, 'i32'), 'f32'), 2 ** -24);
}

const scalarAt = (read: Read, v: Value): Expr =>
  read(
    v,
    v.type.shape.map(() => i32(0)),
  );

/** x and the mask of what is kept: everything unless training. */
export function drop(b: Builder, x: Value, ratio: Value | undefined, training: Value): readonly [Value, Value] {
  const ratioAt = (read: Read): Expr => {
    const given = ratio ? cast(scalarAt(read, ratio), 'f32') : constant(0.5, 'f32');
    return e.select(scalarAt(read, training), given, constant(0, 'f32'));
  };
  const mask = b.generic({ shape: x.type.shape, body: (i, _r, read) => e.le(ratioAt(read), uniformAt(x, i)) });
  const y = b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const kept = e.div(cast(read(x, i), 'f32'), e.max(e.sub(1, ratioAt(read)), 1e-30));
      return cast(e.select(read(mask, i), kept, constant(0, 'f32')), x.type.dtype);
    },
  });
  return [y, mask];
}

const Dropout = op('dropout', {
  doc: 'Identity when a model runs; the mask keeps everything. Drops elements in training mode.',
  inputs: ['x', 'ratio?', 'training?'],
  onnx: {
    'Dropout@1': (): DropoutAttrs => ({ mask: 'same', training: false }),
    'Dropout@10': (): DropoutAttrs => ({ mask: 'i1', training: false }),
    'Dropout@12': (n): DropoutAttrs => {
      const off = n.input(2) === undefined || Number(n.constant(2)?.data[0] ?? 1) === 0;
      return { mask: 'i1', training: !off };
    },
  },
  lower: ({ x, ratio, training }, a: DropoutAttrs, b) => {
    if (a.training && training) return drop(b, x, ratio, training);
    return [x, b.full(x.type.shape, 1, a.mask === 'same' ? x.type.dtype : a.mask)];
  },
  limits: ['In training mode what is dropped differs from other runtimes, which differ among themselves.'],
});

export const records: readonly AnyRecord[] = [Dropout];
