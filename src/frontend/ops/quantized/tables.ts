// Functions of one 8-bit value as tables of 256 entries, filled at import and read by index. The fill functions follow the
// reference kernels' own arithmetic (fixed point, or float32 with one rounding), so that every entry is theirs.

import type { Builder, Read } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { DType } from '../../../support/dtype.js';
import { fromNumbers } from '../../../support/tensor.js';
import { typeRange } from './affine.js';

export type TableType = 'i8' | 'u8' | 'i16' | 'u16' | 'i32';

/** Constant vector of integers. */
export const integerTable = (b: Builder, dtype: TableType, values: readonly number[]): Value =>
  b.constant(fromNumbers(dtype, [values.length], values));

/** Entry for each value of an 8-bit type from the lowest up. */
export function tabulate(b: Builder, from: DType, to: TableType, f: (x: number) => number): Value {
  const { lo, hi } = typeRange(from);
  return integerTable(
    b,
    to,
    Array.from({ length: hi - lo + 1 }, (_, k) => f(lo + k)),
  );
}

/** Entry of a `tabulate` table for a stored element. */
export function lookUp(read: Read, table: Value, x: Expr): Expr {
  const index = cast(x, 'i32');
  return read(table, [x.dtype === 'u8' ? index : e.add(index, 128)]);
}

/** x through a table of its own type's values. */
export function mapByTable(b: Builder, x: Value, to: TableType, f: (q: number) => number): Value {
  const table = tabulate(b, x.type.dtype, to, f);
  return b.generic({ shape: x.type.shape, body: (i, _r, read) => lookUp(read, table, read(x, i)) });
}
